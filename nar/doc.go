// Package nar implements Nix's archive format: it reads, writes, lists, dumps, restores
// and hashes archives.
//
// A Nix archive (NAR) is the serialisation of a file, a directory or a symlink. Equal
// trees always serialise to equal bytes: an archive contains no times, owners or
// permissions except one bit for executable files, and entries are sorted by the bytes
// of their names. The hash of these bytes is the hash of a directory in Nix.
//
// An archive consists of the strings and numbers of package wire. In this grammar, quoted
// words, target and name are such strings; size is a number:
//
//	archive   = "nix-archive-1" node
//	node      = "(" "type" ( file | directory | symlink ) ")"
//	file      = "regular" [ "executable" "" ] "contents" contents
//	directory = "directory" { "entry" "(" "name" name "node" node ")" }
//	symlink   = "symlink" "target" target
//	contents  = size, as many bytes, and zero bytes up to a multiple of 8
//
// An archive does not contain its own length; it ends with the last parenthesis. Names
// have 1 to 255 bytes, may contain any byte except "/" and NUL, and are not "." or "..".
// Targets have 1 to 4095 bytes without NUL. Nodes are nested at most 64 deep.
//
// # Where to begin
//
// To convert between a stream and entries, use [Reader] and [Writer]. [Copy] copies and
// checks one archive; [RawReader] does the same as an io.Reader. To read and write the
// file system, use [Dump], [HashPath] and [Restore]. To look into an archive, make a
// [Listing] with [ReadListing] or [Index]; [FS] reads single files with it.
//
// A [Hasher], a [Lister] and a [RefScanner] are writers: io.MultiWriter combines them to
// process a stream in one pass. [Rewriter], [ModuloHasher] and [ModuloTexts] are for objects
// that contain their own path.
//
// # In which order to read
//
// nar.go defines entries and errors. grammar.go is the grammar above as a state machine,
// which reader.go and lister.go drive; writer.go does the reverse. dump.go reads
// directories (folder*.go, names.go) on one goroutine while another uses the bytes
// (pipeline.go). restore.go passes large pieces to a second goroutine that hashes them
// (asyncwriter.go). The package starts no other goroutines. windows.go finds candidates for
// hash parts, for references.go and rewrite.go. raw.go extracts an archive from a stream.
//
// Format: src/libutil/archive.cc in Nix 2.34.
package nar
