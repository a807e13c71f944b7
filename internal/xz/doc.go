// Package xz decodes xz streams, in which nearly all archives of binary caches come.
//
// A file is streams one after the other, with zeros in between. A stream is a header, blocks, an
// index of them and a footer. A block is a header, which says how large a window it needs, chunks
// of LZMA2, zeros, and a check of what comes out. A chunk is stored as it is, or it is compressed
// with LZMA: literals, and matches with what came before, in bits that are coded by how probable
// they are.
//
// Memory follows what is decoded, and not what a header says: whoever knows how much comes out
// says so, and gets a window that is no larger. Filters other than LZMA2, which change programs
// before they are compressed, are not known, nor is encoding.
//
// stream.go has streams, block.go blocks, lzma2.go chunks and the window, lzma.go the bits.
//
// Sources: "The .xz File Format", 1.2.1, and the specification of LZMA by Igor Pavlov, both in
// the public domain.
package xz
