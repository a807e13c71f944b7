// Package derivation knows derivations: what a .drv file says, how its hash and its
// output paths are computed, and how one derivation leads to others.
//
// A derivation is one build step. Its file is one line of text in a notation called
// ATerm, here with line breaks that the file does not have:
//
//	Derive([("out","/nix/store/…-hello","","")],     outputs
//	       [("/nix/store/…-bash.drv",["out"])],      input derivations, and which outputs of each
//	       ["/nix/store/…-builder.sh"],              input sources
//	       "x86_64-linux",                           platform
//	       "/nix/store/…-bash/bin/bash",             builder
//	       ["-e","/nix/store/…-builder.sh"],         arguments
//	       [("name","hello"),("out","/nix/store/…-hello")])   environment
//
// [Parse] reads it and [Derivation.AppendATerm] writes it. Nix reads much that it
// would never write; [ParseCanonical] takes only what it writes.
//
// # How paths are computed
//
// Three texts must be told apart:
//
//   - The path of the .drv file follows from its text and what it refers to
//     ([Derivation.Path]).
//   - The path of an input-addressed output follows from the modulo hash
//     ([Derivation.HashModulo]): that of the derivation's text, with its own output
//     paths blanked (they are not known yet), and with the modulo hash of each input
//     derivation in the place of its path. So a path depends on all that goes into the
//     build, and not on how it came to be.
//   - The path of a fixed output follows from its name and its hash alone, and so does
//     its modulo hash: a download that moves to another server changes nothing in what
//     depends on it.
//
// Floating outputs get their paths from their contents, after the build. What depends
// on them is deferred: it cannot have paths before, and gets them when it is resolved
// ([Derivation.Resolve]).
//
// # Reading order
//
// The type and its parts: derivation.go, output.go, kind.go, map.go. The text: parse.go,
// canonical.go, print.go (with parsed.go, room.go and word.go, which make them quick).
// Hashes and paths: modulo.go, paths.go, validate.go. Many derivations at once:
// loader.go, closure.go, verify.go and verifycheck.go, over graph.go. How two differ:
// diff.go, diffinputs.go, difftext.go. What can be asked for: derivedpath.go,
// outputsspec.go, resolve.go. What a derivation asks of its builder: structured.go,
// options.go. The other notation: jsonvalue.go, jsonwrite.go, jsonread.go.
//
// Sources: src/libstore/derivations.cc, derivation-options.cc, parsed-derivations.cc,
// derived-path.cc and outputs-spec.cc in Nix 2.34, and "Derivation" in its manual.
package derivation
