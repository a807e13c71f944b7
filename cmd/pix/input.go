package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// isTerminal reports whether a stream is a terminal, or a writer that wraps one.
func isTerminal(stream any) bool {
	if w, ok := stream.(io.Writer); ok {
		stream = unwrapped(w)
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// unwrapped returns the writer below the one that prints above the live view. A program that runs in the place of pix must get the
// terminal itself: for any other writer, package exec makes a pipe.
func unwrapped(w io.Writer) io.Writer {
	if wrapper, ok := w.(interface{ Unwrap() io.Writer }); ok {
		return wrapper.Unwrap()
	}
	return w
}

// stdinName is how messages name standard input.
const stdinName = "standard input"

// orInterrupted calls work and waits until it returns or ctx ends. work may block for ever in a read from a
// terminal or in a write to a pipe without a reader, so it must leave nothing to clean up.
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

// limitMemory makes the garbage collector run when 24 MiB are in use. Dumping a directory of a million files then
// takes 40 MB instead of 65. Verbs that hold much data must not use it: the collector would run all the time.
func limitMemory() { debug.SetMemoryLimit(24 << 20) }

// boundGarbage makes the garbage collector run when the heap has grown by half since the last time, instead of doubled.
// It is for verbs that hold a value for each of very many paths, and allocate much more than these for a short time.
func boundGarbage() { debug.SetGCPercent(50) }

// boundGarbageOfCopy is boundGarbage for a copy, which holds the infos of all paths.
func boundGarbageOfCopy() { debug.SetGCPercent(40) }

// The sizes of an aheadReader.
const (
	aheadPiece  = 256 << 10
	aheadPieces = 4
)

// An aheadReader reads a stream ahead on its own goroutine, so the stream is read (and decompressed) while the
// caller uses the bytes. Read returns when the context ends, even if the stream blocks.
type aheadReader struct {
	ctx   context.Context
	stop  context.CancelFunc
	full  chan []byte
	free  chan []byte
	piece []byte // the piece that the caller uses
	rest  []byte // the unread part of piece
	err   error  // of the stream; written before full is closed
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
		r.full <- piece[:n] // never blocks: full has room for all pieces
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

// next returns the next piece of the stream, which is valid until the next call.
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

// Close stops the goroutine after the current read of the stream.
func (r *aheadReader) Close() error {
	r.stop()
	return nil
}

// maxText is the size in bytes of the largest text that a verb holds in memory.
const maxText = 1 << 30

// readSmall returns the contents of a file, or of standard input for "-". More than limit bytes are an error.
func (a *app) readSmall(ctx context.Context, file string, limit int64) ([]byte, error) {
	src, err := a.openContents(ctx, file)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return readUpTo(ctx, src, file, limit)
}

// A tooLargeError reports that a file is larger than a verb reads.
type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string { return fmt.Sprintf("it has more than %d bytes", e.limit) }

// readUpTo returns the contents of an open file. If they have more than limit bytes, it returns the first limit+1 bytes and a
// [*tooLargeError]. Errors name the file.
func readUpTo(ctx context.Context, src io.Reader, file string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(src, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = &tooLargeError{limit}
	}
	var inFile *os.PathError
	if err != nil && ctx.Err() == nil && !errors.As(err, &inFile) {
		err = fmt.Errorf("%s: %w", inputName(file), err)
	}
	return b, err
}

// inputName returns how messages name a file, or standard input for "-".
func inputName(file string) string {
	if file == "-" {
		return stdinName
	}
	return "'" + file + "'"
}

func addStdinFlag(cmd *cobra.Command, stdin *bool) {
	cmd.Flags().BoolVar(stdin, "stdin", false, "take more from standard input, one per line")
}

// withStdin returns the arguments, followed by the lines of standard input if stdin is true. Without stdin, no
// argument is a usage error.
func (a *app) withStdin(cmd *cobra.Command, args []string, stdin bool) ([]string, error) {
	if stdin {
		in := readAhead(cmd.Context(), a.stdin)
		defer in.Close()
		return appendLines(args, in)
	}
	if err := cobra.MinimumNArgs(1)(cmd, args); err != nil {
		return nil, wrongArguments(cmd, args, err)
	}
	return args, nil
}

// maxLine is the largest length in bytes of a line on standard input. Names of files have at most 4,096.
const maxLine = 1 << 20

// manyPaths is the number of paths from which on less garbage is worth the time of the collector.
const manyPaths = 100_000

// appendLines appends the lines of r, without empty ones.
func appendLines(lines []string, r io.Reader) ([]string, error) {
	const blockSize = 64 << 10
	// Lines are parts of larger blocks, because a million small strings take a fifth more memory.
	var block strings.Builder
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLine)
	n := 0 // number of lines, for errors
	for scanner.Scan() {
		n++
		line := bytes.TrimRight(scanner.Bytes(), "\r")
		if len(line) == 0 {
			continue
		}
		if block.Cap()-block.Len() < len(line) {
			block = strings.Builder{}
			block.Grow(max(blockSize, len(line)))
		}
		start := block.Len()
		block.Write(line)
		lines = append(lines, block.String()[start:])
		if len(lines) == manyPaths {
			boundGarbage()
		}
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d has more than %d bytes", n+1, maxLine)
	} else if err != nil {
		return nil, err
	}
	return lines, nil
}
