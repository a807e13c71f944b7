// Package nar knows Nix's archive format: how to read, write, list, dump, restore and
// hash it.
//
// A Nix archive (NAR) is a file, a directory or a symlink turned into bytes, in such a
// way that the same thing always makes the same bytes. There are no times, owners or
// permissions in it, but for one bit that says whether a file is executable, and
// entries are sorted by the bytes of their names. The hash of these bytes is what Nix
// means by the hash of a directory.
//
// Everything is made of the strings and numbers of package wire. In this grammar a
// quoted word is such a string, as are target and name; size is a number:
//
//	archive   = "nix-archive-1" node
//	node      = "(" "type" ( file | directory | symlink ) ")"
//	file      = "regular" [ "executable" "" ] "contents" contents
//	directory = "directory" { "entry" "(" "name" name "node" node ")" }
//	symlink   = "symlink" "target" target
//	contents  = size, as many bytes, and zero bytes up to a multiple of 8
//
// An archive says nowhere how long it is; its end is the last parenthesis. Names have
// 1 to 255 bytes, any but "/" and NUL, and are not "." or ".."; targets have 1 to 4095
// bytes without NUL; there are at most 64 nodes on the way to any.
//
// # Where to begin
//
// From a stream to its entries and back: [Reader], [Writer], and [Copy], which passes
// an archive on and checks it, as [RawReader] does for whoever reads. From the file
// system and to it: [Dump], [HashPath], [Restore]. To look into an archive:
// [ReadListing] and [Index] make a [Listing], with which [FS] finds single files.
//
// Several things can be learnt of a stream in one pass with io.MultiWriter: a [Hasher],
// a [Lister] and a [RefScanner] are writers. [Rewriter] and [ModuloHasher] serve
// objects that mention their own path.
//
// # In which order to read
//
// nar.go has the words, grammar.go the grammar above as a state machine, which
// reader.go pulls and lister.go is pushed; encode.go is its reverse, for writer.go and
// dump.go. The dump reads folders (folder*.go, names.go) while a second goroutine
// uses what was read (pipeline.go), and a restore lets another goroutine hash large pieces
// (aside.go, for restore.go); there are no others in this package. windows.go finds what may
// be a hash part, for references.go and rewrite.go. raw.go cuts an archive out of a stream.
//
// Source of the format: src/libutil/archive.cc in Nix 2.34.
package nar
