-- When a version was last found to be good: what there is to go back to. A bar takes it away.
alter table forebay.plugin_version add good_at timestamptz;

update forebay.plugin_version set good_at = since where state = 'active';
