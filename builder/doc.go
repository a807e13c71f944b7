// Package builder builds one derivation whose inputs are valid, and registers its outputs.
//
//	b := builder.New(s, &builder.Options{Shell: "/usr/bin/bash-static"})
//	result, err := b.Build(ctx, &builder.Request{Path: drvPath, Derivation: d})
//
// A program that builds calls sandbox.Main first in main: see package pix/builder/sandbox.
//
// # The steps of a build
//
//  1. Read the options of the derivation, and reject a derivation that this machine cannot build (prepare.go,
//     reject.go).
//  2. Lock the outputs. Another process may have built them meanwhile. Remove invalid leftovers at their paths.
//  3. Find the input closure, and compute the variables, arguments and files for the builder (env.go, attrs.go,
//     graph.go).
//  4. Take a build user, make the build directory and the root of the sandbox, and choose a scratch path for each
//     output (setup.go, users.go, builddir.go, chroot.go, root.go, sandboxpaths.go, scratch.go).
//  5. Run the builder, and read its log, until it ends or a limit is reached (run.go, limits.go, log.go,
//     logmessage.go, executor.go, failure.go).
//  6. Check, rewrite, move and register the outputs (outputs.go).
//  7. Remove everything that the build has created, except the outputs (cleanup.go).
//
// # What a builder can do
//
// A builder is any program, and may be hostile. In a sandbox it sees its inputs, read-only, and its build directory,
// and has no network unless the hash of its output is fixed. All its processes have ended before its outputs are
// read, and no file is written below the root of the sandbox after the builder has started. What it prints is data: a
// line that looks like a message of Nix reports a phase, a download or a text, and has no other effect.
//
// Options can turn the sandbox off. Then the builder can read and change every file that its user can.
//
// # When this process is killed
//
// The processes of a build end with this process. Its directories stay. A file beside the build directory, the mark,
// names them, and is locked while the build runs. The first build of another process removes the directories whose
// mark is not locked (mark.go). An output is valid only when it is complete.
//
// # Differences to Nix 2.34
//
//   - It is an error if the options ask for a sandbox that the machine refuses. Nix builds without one, in the
//     /nix/store of the machine.
//   - Inputs are mounted read-only. Nix without build users lets builders change them.
//   - A carriage return before a line feed in a log is part of the line end, as in Nix 2.36.
//   - A builder, an argument or a variable with a NUL byte is rejected. Nix cuts it off.
//   - Outputs of a failed build do not get into the store. With KeepFailed, the outputs of a sandboxed build are
//     beside the build directory.
//   - Lock files do not stay after a failure.
//   - Build directories that a killed process has left are removed.
//   - A line of a log is at most 1 MiB long, and the lines in a message at most 2 MiB together.
//   - A builder that closes its output has a second to exit. Nix kills it at once, so a builder whose last step is a tool that
//     closes its output before it exits, as GNU's tools do, fails at random on a busy machine.
//   - The reason why a line that begins with @nix is no message has other words.
//   - Messages have no colours.
//   - Builds into two stores of a machine never have the same build user at once.
//   - The members of the group of build users, and their other groups, are read only from /etc/group.
//
// Sources: src/libstore/unix/build and src/libstore/build/derivation-building-goal.cc in Nix 2.34.8.
package builder
