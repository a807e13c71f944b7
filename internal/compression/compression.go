package compression

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"

	"github.com/andybalholm/brotli"
)

// MaxWindow is the largest window of a stream, in bytes: the distance of back-references, and about the memory that
// decoding needs.
const MaxWindow = 128 << 20

// ErrUnknown is the error of a stream that is neither plain nor compressed by a supported method.
var ErrUnknown = errors.New("it is not compressed with a supported method (zstd, xz, gzip, bzip2, lzma, lz4, brotli), and does not begin as expected")

// formats are the methods that are recognised by their first bytes. A stream of lzma has no magic number, but
// nearly all programs write these properties, and a dictionary that is a multiple of 64 KiB.
var formats = []struct {
	magic, ext, method string
	open               func(src io.Reader, size uint64) (io.Reader, error)
}{
	{"\x28\xb5\x2f\xfd", ".zst", "zstd", openZstd},
	{"\xfd7zXZ\x00", ".xz", "xz", openXz},
	{"\x1f\x8b", ".gz", "gzip", openGzip},
	{"BZh", ".bz2", "bzip2", openBzip2},
	{"\x5d\x00\x00", ".lzma", "lzma", openLzma},
	{"\x04\x22\x4d\x18", ".lz4", "lz4", openLz4},
}

// unlimited is the size of a stream of unknown size.
const unlimited = math.MaxUint64

// ByExtension decodes src by the extension of its file name: .zst, .xz, .gz, .bz2, .lzma or .lz4. The error is
// [ErrUnknown] for any other. Without an extension it returns src.
func ByExtension(ext string, src io.Reader) (io.Reader, error) {
	if ext == "" {
		return src, nil
	}
	for _, f := range formats {
		if f.ext == ext {
			return f.open(src, unlimited)
		}
	}
	return nil, ErrUnknown
}

// orNil converts the result of a constructor to an interface that is nil after an error. A nil pointer
// in an interface is not nil, so a caller that closes a result that is not nil would panic.
func orNil[I any](v I, err error) (I, error) {
	if err != nil {
		var none I
		return none, err
	}
	return v, nil
}

const maxMagic = 6 // bytes

// A Reader reads a stream, and decodes it if it is compressed. It need not be closed.
type Reader struct {
	src     io.Reader
	plain   string
	decoded io.Reader // nil before the first Read
	isPlain bool
	err     error
}

// NewReader returns a Reader of src. The decompressed stream must begin with plain.
// Nothing is read from src before the first Read.
func NewReader(src io.Reader, plain string) *Reader { return &Reader{src: src, plain: plain} }

// Read implements io.Reader. The error is io.ErrUnexpectedEOF for a truncated stream, and [ErrUnknown] for one
// that is not recognised.
func (r *Reader) Read(p []byte) (int, error) {
	if r.decoded == nil && r.err == nil {
		r.decoded, r.err = r.open()
	}
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.decoded.Read(p)
	r.err = err
	return n, err
}

// IsPlain reports whether the stream is not compressed. The result is valid after the first Read.
func (r *Reader) IsPlain() bool { return r.isPlain }

func (r *Reader) open() (io.Reader, error) {
	head, err := readHead(r.src, max(len(r.plain), maxMagic))
	if err != nil {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(head), r.src)
	// A stream that is shorter than plain counts as plain: its reader finds that it is truncated.
	if strings.HasPrefix(string(head), r.plain) || strings.HasPrefix(r.plain, string(head)) {
		r.isPlain = true
		return whole, nil
	}
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return f.open(whole, unlimited)
		}
	}
	return r.openBrotli(whole)
}

// openBrotli checks that src is brotli, by decoding the beginning.
func (r *Reader) openBrotli(src io.Reader) (io.Reader, error) {
	decoder := brotli.NewReader(src)
	head, err := readHead(decoder, len(r.plain))
	if err != nil || string(head) != r.plain {
		return nil, ErrUnknown
	}
	return io.MultiReader(bytes.NewReader(head), decoder), nil
}

// readHead reads the first n bytes, or all bytes if there are fewer.
func readHead(src io.Reader, n int) ([]byte, error) {
	head := make([]byte, n)
	n, err := io.ReadFull(src, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return head[:n], err
}
