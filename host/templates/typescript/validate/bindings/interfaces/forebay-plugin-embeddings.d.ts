declare module 'forebay:plugin/embeddings@0.1.0' {
  /**
   * Elements of the row's embedding; `none` if the row has none of that name.
   */
  export function dimensions(row: number, name: string): number | null;
  /**
   * A copy of the elements. f16 embeddings are widened.
   */
  export function read(row: number, name: string): Array<number>;
  /**
   * Replaces the embedding, as f32. Elements must be finite, 1 to 16,000 of them.
   */
  export function write(row: number, name: string, values: Float32Array | Array<number>): void;
  /**
   * The Euclidean norm of each row's embedding, computed in f64; 0 where there is none.
   */
  export function norms(name: string): Array<number>;
  /**
   * The rows whose embedding has a NaN or an infinity.
   */
  export function nonFinite(name: string): Array<number>;
  /**
   * Divides each embedding by its norm. Embeddings of norm 0 stay.
   */
  export function normalize(name: string): void;
  /**
   * Keeps the first elements of each embedding, as for Matryoshka models; shorter ones
   * stay. `dimensions` is at least 1.
   */
  export function truncate(name: string, dimensions: number): void;
}
