/// <reference path="./interfaces/forebay-plugin-dead-letter-policy.d.ts" />
/// <reference path="./interfaces/forebay-plugin-describe.d.ts" />
/// <reference path="./interfaces/forebay-plugin-embeddings.d.ts" />
/// <reference path="./interfaces/forebay-plugin-log.d.ts" />
/// <reference path="./interfaces/forebay-plugin-transform.d.ts" />
/// <reference path="./interfaces/forebay-plugin-types.d.ts" />
/// <reference path="./interfaces/forebay-plugin-validate.d.ts" />
declare module 'forebay:plugin/plugin@0.1.0' {
  export type * as ForebayPluginEmbeddings010 from 'forebay:plugin/embeddings@0.1.0'; // import forebay:plugin/embeddings@0.1.0
  export type * as ForebayPluginLog010 from 'forebay:plugin/log@0.1.0'; // import forebay:plugin/log@0.1.0
  export type * as ForebayPluginTypes010 from 'forebay:plugin/types@0.1.0'; // import forebay:plugin/types@0.1.0
  export * as describe from 'forebay:plugin/describe@0.1.0'; // export forebay:plugin/describe@0.1.0
  export * as transform from 'forebay:plugin/transform@0.1.0'; // export forebay:plugin/transform@0.1.0
  export * as validate from 'forebay:plugin/validate@0.1.0'; // export forebay:plugin/validate@0.1.0
  export * as deadLetterPolicy from 'forebay:plugin/dead-letter-policy@0.1.0'; // export forebay:plugin/dead-letter-policy@0.1.0
}
