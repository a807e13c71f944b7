package compression

import (
	"compress/gzip"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// Encode returns a writer that compresses to dst by a method: none, xz, zstd, gzip or br. Level 0 is the default of
// the method; xz has no others. The stream is complete after the writer was closed, which does not close dst. Close
// must be called only once.
//
// The contents should have at most size bytes. 0 is an unknown size. The encoder allocates no larger dictionary than
// that. Longer contents are compressed correctly, but less. Equal contents of equal size give equal streams.
func Encode(method string, dst io.Writer, level int, size uint64) (io.WriteCloser, error) {
	switch method {
	case "none", "", "identity":
		return plainWriter{dst}, nil
	case "xz":
		if level != 0 {
			return nil, errors.New("compression levels are not supported with the method \"xz\"")
		}
		return orNil[io.WriteCloser](newXzWriter(dst, size))
	case "zstd":
		return orNil[io.WriteCloser](newZstdWriter(dst, level, size))
	case "gzip", "br":
		return orNil[io.WriteCloser](newReusedWriter(encoderKind{method, level}, dst))
	}
	return nil, &MethodError{method, "compressing"}
}

// CanEncode reports whether [Encode] supports the method.
func CanEncode(method string) bool {
	_, err := Encode(method, io.Discard, 0, 1)
	return err == nil
}

// newXzWriter returns an encoder for contents of size bytes. 0 is an unknown size.
//
// The encoder allocates and clears 6 to 10 bytes for each byte of its dictionary. For 500 archives of 4 KB, the copy to
// a cache takes 0.9 s of processor time and 35 MB with dictionaries of 68 KiB instead of 4.2 s and 420 MB with the largest
// ones. For 2,000 archives of 1 KB, it takes 0.6 s with the smallest dictionaries instead of 1.1 s with 68 KiB.
//
// The encoder copies an incompressible chunk, which is shorter than safe, out of its dictionary. If the dictionary is
// smaller than the chunk, the encoder writes an invalid stream without an error. So a block with a small dictionary is no
// longer than that. If the contents are longer than size, one other block follows, whose dictionary is large enough.
func newXzWriter(dst io.Writer, size uint64) (*xz.Writer, error) {
	const least, safe, most = lzma.MinDictCap, 68 << 10, 8 << 20 // the largest is the default of the program xz
	if size == 0 || size > most {
		size = most
	}
	c := xz.WriterConfig{DictCap: int(max(size, least))}
	if c.DictCap < safe {
		c.BlockSize = int64(c.DictCap)
	}
	w, err := c.NewWriter(dst)
	if err == nil { // the first block has begun
		w.DictCap, w.BlockSize = max(c.DictCap, safe), math.MaxInt64
	}
	return w, err
}

// A reusable is an encoder that can write several streams.
type reusable interface {
	io.WriteCloser
	Reset(dst io.Writer)
}

// An encoderKind identifies the encoders that can replace each other.
type encoderKind struct {
	method string
	level  int
}

// idleEncoders has a *sync.Pool of reusable encoders for each encoderKind. An encoder has up to some megabytes of
// buffers, which are expensive to allocate for each small archive: for 300 archives of 4 KB, reuse takes 0.16 s instead of
// 0.30 s of user time with gzip, 0.23 s instead of 0.43 s with br.
var idleEncoders sync.Map

// A reusedWriter returns its encoder to a pool when it is closed.
type reusedWriter struct {
	reusable
	pool *sync.Pool
}

func newReusedWriter(kind encoderKind, dst io.Writer) (*reusedWriter, error) {
	if pool, ok := idleEncoders.Load(kind); ok {
		pool := pool.(*sync.Pool)
		if e, ok := pool.Get().(reusable); ok {
			e.Reset(dst)
			return &reusedWriter{e, pool}, nil
		}
	}
	e, err := newReusable(kind, dst)
	if err != nil {
		return nil, err
	}
	pool, _ := idleEncoders.LoadOrStore(kind, new(sync.Pool))
	return &reusedWriter{e, pool.(*sync.Pool)}, nil
}

func newReusable(kind encoderKind, dst io.Writer) (reusable, error) {
	level := kind.level
	if kind.method == "gzip" {
		if level == 0 {
			level = gzip.DefaultCompression
		}
		return gzip.NewWriterLevel(dst, level)
	}
	if level == 0 {
		level = brotli.DefaultCompression
	}
	return brotli.NewWriterV2(dst, level), nil
}

// Close completes the stream.
func (w *reusedWriter) Close() error {
	err := w.reusable.Close()
	w.Reset(nil)
	w.pool.Put(w.reusable)
	return err
}

type plainWriter struct{ io.Writer }

// Close does nothing.
func (plainWriter) Close() error { return nil }
