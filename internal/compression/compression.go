package compression

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"

	"github.com/andybalholm/brotli"
)

// MaxWindow is how many bytes back a stream may refer, and so what decoding it needs.
const MaxWindow = 128 << 20

// ErrUnknown is why a stream cannot be read: it is neither plain, nor compressed in a way
// that is known.
var ErrUnknown = errors.New("it is not compressed in any known way (zstd, xz, gzip, bzip2, lzma, lz4, brotli), and does not begin as it should")

// formats are the ways that are recognised by their first bytes. A stream of lzma has no magic number, but
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

// ByExtension returns what is in src, which is a file whose name has that extension: one of
// .zst, .xz, .gz, .bz2, .lzma and .lz4; with any other it is [ErrUnknown]. The empty extension is that of a
// file that is not compressed.
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

const longestMagic = 6

// A Reader reads a stream, decoded if it is compressed. There is nothing to close.
type Reader struct {
	src     io.Reader
	plain   string
	decoded io.Reader // nil until something was read
	isPlain bool
	err     error
}

// NewReader returns a Reader of src. Without compression the stream begins with plain.
// Nothing is read from src before the first Read.
func NewReader(src io.Reader, plain string) *Reader { return &Reader{src: src, plain: plain} }

// Read implements io.Reader. A stream that ends too early is io.ErrUnexpectedEOF, and one
// that is not recognised [ErrUnknown].
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

// IsPlain reports whether the stream is not compressed. That is known when something was
// read.
func (r *Reader) IsPlain() bool { return r.isPlain }

func (r *Reader) open() (io.Reader, error) {
	head, err := readHead(r.src, max(len(r.plain), longestMagic))
	if err != nil {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(head), r.src)
	// Plain is also what is too short to be told: whoever reads it finds that it is.
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

// openBrotli decodes src as far as it takes to tell that it is brotli.
func (r *Reader) openBrotli(src io.Reader) (io.Reader, error) {
	decoder := brotli.NewReader(src)
	head, err := readHead(decoder, len(r.plain))
	if err != nil || string(head) != r.plain {
		return nil, ErrUnknown
	}
	return io.MultiReader(bytes.NewReader(head), decoder), nil
}

// readHead reads the first n bytes, or all if there are fewer.
func readHead(src io.Reader, n int) ([]byte, error) {
	head := make([]byte, n)
	n, err := io.ReadFull(src, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return head[:n], err
}
