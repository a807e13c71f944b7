// Package derivation reads, writes, checks and compares derivations, and computes their
// hashes and output paths.
//
// A derivation is one build step. Its .drv file is a text in a notation called ATerm. It is a
// single line; the line breaks here are not part of it:
//
//	Derive([("out","/nix/store/…-hello","","")],     outputs
//	       [("/nix/store/…-bash.drv",["out"])],      input derivations, and which outputs of each
//	       ["/nix/store/…-builder.sh"],              input sources
//	       "x86_64-linux",                           platform
//	       "/nix/store/…-bash/bin/bash",             builder
//	       ["-e","/nix/store/…-builder.sh"],         arguments
//	       [("name","hello"),("out","/nix/store/…-hello")])   environment
//
// [Parse] reads it and [Derivation.AppendATerm] writes it. Nix accepts many texts that it would
// never write; [ParseCanonical] accepts only those that it writes.
//
// # How paths are computed
//
// Three paths are computed in different ways:
//
//   - The path of the .drv file depends on its text and its references ([Derivation.Path]).
//   - The path of an input-addressed output depends on the modulo hash
//     ([Derivation.HashModulo]). This is the hash of the derivation's text in which its own
//     output paths, which are not known yet, are blank, and in which the modulo hash of each
//     input derivation replaces its path. So the path depends on everything that goes into the
//     build, and on nothing else.
//   - The path of a fixed output depends only on its name and its hash, and so does its modulo
//     hash. If a download moves to another server, the paths that depend on it do not change.
//
// The path of a floating output depends on its contents, so it is known only after the build.
// Derivations that depend on floating outputs are deferred: they get their output paths when
// they are resolved ([Derivation.Resolve]).
//
// # Reading order
//
// The type and its parts: derivation.go, output.go, map.go. The text: parse.go, parser.go,
// parsed.go, print.go; bytescan.go makes parsing fast. Hashes and paths: modulo.go, paths.go,
// validate.go. Closures: loader.go, closure.go, verify.go and verifycheck.go, all based on
// graph.go. Differences: diff.go, diffinputs.go, difftext.go. Requests for outputs:
// derivedpath.go, outputsspec.go, resolve.go. Settings of the builder: options.go,
// optionsread.go. JSON: jsonvalue.go, jsonread.go, jsonwrite.go, jsonwriter.go.
//
// Sources: src/libstore/derivations.cc, derivation-options.cc, parsed-derivations.cc,
// derived-path.cc and outputs-spec.cc in Nix 2.34, and "Derivation" in its manual.
package derivation
