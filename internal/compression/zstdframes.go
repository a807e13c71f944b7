package compression

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"pix/internal/parallel"
)

// zstdFrame is the number of bytes of the contents in each frame but the last. The size does not depend on the machine, so equal
// contents give equal streams.
const zstdFrame = 16 << 20

// zstdWindow is the largest distance of a repetition. An encoder holds twice as much. For 96 MiB of programs and sources, the
// stream is 0.1 % larger than with the library's default of 8 MiB, with 2 MiB it is 1 % larger; none of them is faster.
const zstdWindow = 4 << 20

var errClosedWriter = errors.New("the writer is closed")

// frameSlots bounds the frames that all writers compress on other goroutines. A writer that gets no slot compresses its frame
// itself. So the memory is one frame for each writer, and one frame and an encoder for each of at most 4 processors.
var frameSlots = make(chan struct{}, min(runtime.GOMAXPROCS(0), 4))

// A zstdWriter compresses contents in frames that do not depend on each other, several at once, as Nix 2.35 does. The
// header of a frame of 256 bytes or more has the size of its contents, so a decoder can decode several at once too. A goroutine compresses a frame in memory,
// so it ends even if the writer is never closed.
type zstdWriter struct {
	dst      io.Writer
	encoders *sync.Pool  // of *zstd.Encoder
	left     uint64      // bytes of the expected contents that are in no frame
	frame    *frameJob   // the contents that are not compressed yet
	pending  []*frameJob // frames that are compressed, in their order
	written  bool        // a frame
	err      error
}

// A frameJob compresses a frame.
type frameJob struct {
	contents []byte
	frame    frameBuffer
	done     chan struct{}
	guard    parallel.Guard // moves a panic to the goroutine of the writer
}

// A frameBuffer holds what is written to it. A bytes.Buffer would double its memory, and hold up to twice the bytes of a
// frame; append grows a large slice by a quarter.
type frameBuffer []byte

// Write implements io.Writer. It returns no errors.
func (b *frameBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// idleFrames has the *frameJob whose memory can be used again.
var idleFrames sync.Pool

// newFrame begins a frame. Growing its memory step by step would take several times as much.
func (w *zstdWriter) newFrame() {
	j, ok := idleFrames.Get().(*frameJob)
	if !ok {
		j = new(frameJob)
	}
	n := min(w.left, zstdFrame)
	w.left -= n
	j.contents = slices.Grow(j.contents, int(n))
	w.frame = j
}

// zstdEncoders has a *sync.Pool of *zstd.Encoder for each level.
var zstdEncoders sync.Map

// newZstdEncoder returns an encoder that writes a frame even without contents.
func newZstdEncoder(level zstd.EncoderLevel) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true),
		zstd.WithWindowSize(zstdWindow))
}

// newZstdWriter returns a writer of contents that should have size bytes; 0 is an unknown size.
func newZstdWriter(dst io.Writer, level int, size uint64) (*zstdWriter, error) {
	speed := zstd.SpeedDefault
	if level != 0 {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	pool, ok := zstdEncoders.Load(speed)
	if !ok {
		e, err := newZstdEncoder(speed)
		if err != nil {
			return nil, err
		}
		pool, _ = zstdEncoders.LoadOrStore(speed, &sync.Pool{New: func() any {
			e, _ := newZstdEncoder(speed) // it has not failed before
			return e
		}})
		pool.(*sync.Pool).Put(e)
	}
	w := &zstdWriter{dst: dst, left: size, encoders: pool.(*sync.Pool)}
	w.newFrame()
	return w, nil
}

// Write implements io.Writer. The error may be one of the frames before.
func (w *zstdWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 && w.err == nil {
		if len(w.frame.contents) == zstdFrame { // only now, so that the last frame is not empty
			w.err = w.begin()
			continue
		}
		n := min(len(p), zstdFrame-len(w.frame.contents))
		w.frame.contents = append(w.frame.contents, p[:n]...)
		p = p[n:]
		written += n
	}
	return written, w.err
}

// begin compresses the frame, on another goroutine if there is a slot.
func (w *zstdWriter) begin() error {
	for len(w.pending) >= cap(frameSlots) {
		if err := w.finish(); err != nil {
			return err
		}
	}
	j := w.frame
	w.newFrame()
	w.pending = append(w.pending, j)
	j.done = make(chan struct{})
	select {
	case frameSlots <- struct{}{}:
		go func() {
			defer func() { <-frameSlots }()
			j.compress(w.encoders)
		}()
	default:
		j.compress(w.encoders)
	}
	return nil
}

func (j *frameJob) compress(encoders *sync.Pool) {
	defer close(j.done)
	j.guard.Call(func() error {
		// EncodeAll would do the same, but it receives from a channel of the encoder, which must not be shared by tests in
		// different synctest bubbles.
		e := encoders.Get().(*zstd.Encoder)
		j.frame = j.frame[:0]
		e.ResetContentSize(&j.frame, int64(len(j.contents)))
		e.Write(j.contents) // a frameBuffer returns no errors
		e.Close()
		e.Reset(nil)
		encoders.Put(e)
		return nil
	})
}

// finish writes the first frame.
func (w *zstdWriter) finish() error {
	j := w.pending[0]
	w.pending = w.pending[1:]
	<-j.done
	j.guard.Repanic()
	_, err := w.dst.Write(j.frame)
	w.written = true
	j.contents = j.contents[:0]
	idleFrames.Put(j)
	return err
}

// Close completes the stream. Without contents it has an empty frame.
func (w *zstdWriter) Close() error {
	if w.err == nil && (len(w.frame.contents) > 0 || !w.written && len(w.pending) == 0) {
		w.err = w.begin()
	}
	for w.err == nil && len(w.pending) > 0 {
		w.err = w.finish()
	}
	err := w.err
	if err == nil {
		w.err = errClosedWriter
	}
	return err
}
