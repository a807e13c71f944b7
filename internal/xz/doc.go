// Package xz decodes the .xz format, which nearly all archives of public caches have.
//
// # The format
//
// A file is a sequence of streams, with zeros in between, a multiple of 4 bytes. A stream has a header, blocks, an index
// and a footer:
//
//	header   12 bytes: a magic number, the method of the checks, a CRC32
//	block    a header, chunks, zeros up to a multiple of 4, a check (CRC32, CRC64, SHA-256 or none)
//	index    a zero, the sizes of each block, zeros up to a multiple of 4, a CRC32
//	footer   12 bytes: a CRC32, the size of the index, the flags of the header, a magic number
//
// The header of a block has its filters: LZMA2, and before it filters that prepare machine code (BCJ) or tables (delta) for
// it. It may have the sizes of the block. Parallel encoders write them, so that a decoder finds the next block without decoding
// this one.
//
// LZMA2 is a sequence of chunks of at most 2 MiB, and 64 KiB of compressed bytes. A chunk is stored or compressed with LZMA. It
// may reset the window, the probabilities, or both. LZMA encodes a sequence of symbols. A symbol is a byte, or a match: the length
// and the distance of bytes that came before. Its numbers are sequences of bits, each with an adaptive probability, in a range
// coder (range.go).
//
// Sources: "The .xz File Format" 1.2.0, and the description of LZMA in the LZMA SDK.
//
// # Limits
//
// A decoder needs a window as large as the header of a block says, up to 4 GiB. [Options] bound it. Everything is verified:
// the checks, the index, the footers, and zeros where the format has zeros. Unknown checks are skipped, as in
// liblzma. The filter for RISC-V is not supported.
//
// # Reading order
//
//   - reader.go reads a file, and ahead.go decodes several blocks at once. header.go, index.go and check.go parse and verify the
//     parts around the chunks.
//   - block.go decodes a block: lzma2.go its chunks, lzma.go their symbols, range.go the bits of these, and window.go has the
//     last bytes of the contents.
//   - lzma_amd64.go and lzma_amd64.s decode symbols in assembly. Tests compare both.
//   - filters.go and x86.go undo filters.
package xz
