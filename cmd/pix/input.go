package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/term"
)

// isTerminal reports whether a stream is a terminal, or a way to one.
func isTerminal(stream any) bool {
	if w, ok := stream.(interface{ Unwrap() io.Writer }); ok {
		stream = w.Unwrap()
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// stdinName is what messages call standard input.
const stdinName = "standard input"

// orInterrupted does work that leaves nothing to clean up, until ctx ends, even if it is
// stuck: in a read of a terminal, or in a write to a pipe that nobody reads.
func orInterrupted(ctx context.Context, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// frugal makes the garbage collector work as soon as 24 MiB are in use, so that dumping a
// directory of a million files takes no more than 40 MB, instead of 65. It costs nothing
// where less is in use, and is not for verbs that hold much.
func frugal() { debug.SetMemoryLimit(24 << 20) }

// The sizes of an aheadReader.
const (
	aheadPiece  = 256 << 10
	aheadPieces = 4
)

// An aheadReader reads a stream ahead in a goroutine of its own, so that reading (and
// decoding, if the stream does that) goes on while its bytes are used. A Read of it ends
// when its context does, also if the stream is stuck.
type aheadReader struct {
	ctx   context.Context
	stop  context.CancelFunc
	full  chan []byte
	free  chan []byte
	piece []byte // what is being used
	rest  []byte // of piece
	err   error  // of the stream; set before full is closed
}

func readAhead(ctx context.Context, src io.Reader) *aheadReader {
	r := &aheadReader{full: make(chan []byte, aheadPieces), free: make(chan []byte, aheadPieces)}
	r.ctx, r.stop = context.WithCancel(ctx)
	for range aheadPieces {
		r.free <- nil
	}
	go r.fill(src)
	return r
}

func (r *aheadReader) fill(src io.Reader) {
	defer close(r.full)
	for r.err == nil {
		var piece []byte
		select {
		case piece = <-r.free:
		case <-r.ctx.Done():
			r.err = context.Cause(r.ctx)
			return
		}
		if piece == nil {
			piece = make([]byte, aheadPiece)
		}
		var n int
		n, r.err = src.Read(piece[:aheadPiece])
		r.full <- piece[:n] // never waits: there are no more pieces
	}
}

func (r *aheadReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		piece, err := r.next()
		if err != nil {
			return 0, err
		}
		r.rest = piece
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next returns what comes next, which is valid until it is called again.
func (r *aheadReader) next() ([]byte, error) {
	if r.piece != nil {
		r.free <- r.piece
		r.piece = nil
	}
	select {
	case piece, ok := <-r.full:
		if !ok {
			return nil, r.err
		}
		r.piece = piece
		return piece, nil
	case <-r.ctx.Done():
		return nil, context.Cause(r.ctx)
	}
}

// Close ends the goroutine, once a read of the stream that is under way has ended.
func (r *aheadReader) Close() error {
	r.stop()
	return nil
}

// readSmall reads a whole file, or standard input for "-", of no more than limit bytes.
func (a *app) readSmall(ctx context.Context, file string, limit int64) ([]byte, error) {
	src := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		src = f
	}
	r := readAhead(ctx, src)
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	var inFile *os.PathError
	if err != nil && ctx.Err() == nil && !errors.As(err, &inFile) {
		err = fmt.Errorf("%s: %w", inputName(file), err)
	}
	return b, err
}

// inputName is what messages call a file, or standard input for "-".
func inputName(file string) string {
	if file == "-" {
		return stdinName
	}
	return "'" + file + "'"
}
