// Package explain shows how Nix computes store paths and hashes, step by step, with the real bytes.
//
// An [Explanation] is a list of steps. A [Step] has the exact text that is hashed, the values that the text contains, and the
// result. Later steps use the results of earlier ones, up to the store path.
//
//   - [Derivation] explains a .drv file: its fields, the text in which the outputs are blank and the inputs replaced, its modulo
//     hash, and the path of each output.
//   - [Path] explains the path of a content-addressed object, and [PathIn] of one in a store. [Output] explains the path of an output by
//     its deriver.
//   - [Signature] explains which keys have signed a path, and [NAR] the hash of an archive.
//   - [Hash] explains the spellings of a hash.
//
// Two computations can be compared: [Compare] finds the first step that differs, [WhyRebuilt] the causes of a rebuild, and [Affects]
// the derivations on which the paths of outputs depend.
//
// The values are computed by the packages storepath, derivation and nixhash, so an explanation cannot differ from what the rest of
// pix does.
//
// An Explanation is written as text ([Explanation.AppendText]), as Markdown ([Explanation.AppendMarkdown]), as JSON, or as a shell
// script that computes it again ([Explanation.Script]). Names, texts and values come from the explained objects and can have any
// bytes. The text form escapes them, so it is safe on a terminal, and the script contains them only as octal escapes.
package explain
