package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"pix/internal/unsupported"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

var errNoFile = errors.New("the added object is not a regular file, or is executable")

// addToStore adds contents. A client before 1.25 always sends an archive, so for other methods
// the contents are extracted from it.
func (c *conn) addToStore(ctx context.Context, req *protocol.AddToStoreRequest, b *body) (*protocol.AddToStoreReply, error) {
	contents := io.Reader(b)
	if b.unframed && req.Method != storepath.NAR {
		var err error
		if contents, err = fileIn(contents); err != nil {
			return nil, err
		}
	}
	info, err := c.addContents(ctx, req, contents)
	if err != nil {
		return nil, err
	}
	return &protocol.AddToStoreReply{Info: *info}, nil
}

func (c *conn) addContents(ctx context.Context, req *protocol.AddToStoreRequest, contents io.Reader) (*store.PathInfo, error) {
	adder, ok := store.As[store.Adder](c.store)
	if !ok {
		return nil, unsupportedOperation("addToStoreFromDump")
	}
	return adder.AddToStore(ctx, req.Name, req.Method, req.Algorithm, req.References, contents, &store.AddOptions{Repair: req.Repair})
}

func (c *conn) addTextToStore(ctx context.Context, req *protocol.AddTextToStoreRequest) (*protocol.PathReply, error) {
	if t, ok := store.As[store.TextAdder](c.store); ok {
		path, err := t.AddTextToStore(ctx, req.Name, req.Contents, req.References)
		return &protocol.PathReply{Path: path}, err
	}
	text := &protocol.AddToStoreRequest{Name: req.Name, Method: storepath.Text, Algorithm: nixhash.SHA256, References: req.References}
	info, err := c.addContents(ctx, text, strings.NewReader(req.Contents))
	if err != nil {
		return nil, err
	}
	return &protocol.PathReply{Path: info.Path}, nil
}

// addOptions returns the options for objects that the client adds. restrict has already cleared
// those that an untrusted client may not set.
func (c *conn) addOptions(repair, noSignatures bool) (*store.AddOptions, error) {
	opts := &store.AddOptions{Repair: repair, NoSignatures: noSignatures}
	if c.privileged {
		opts.Vouched = func(*store.PathInfo) bool { return true }
	}
	set := c.settings.current.Load()
	if !c.privileged || set == nil || c.opts.TrustedKeys == nil || noSignatures {
		return opts, nil
	}
	var err error
	opts.TrustedKeys, err = c.opts.TrustedKeys(set)
	return opts, err
}

// addToStoreScanning adds contents during a build. Only the store of a running build supports
// it.
func (c *conn) addToStoreScanning(ctx context.Context, req *protocol.AddToStoreScanningRequest, b *body) (*protocol.AddToStoreReply, error) {
	adder, ok := store.As[store.ScanningAdder](c.store)
	if !ok {
		return nil, unsupportedOperation("addToStoreScanning")
	}
	info, err := adder.AddToStoreScanning(ctx, req.Name, req.Method, req.Algorithm, b)
	if err != nil {
		return nil, err
	}
	return &protocol.AddToStoreReply{Info: *info}, nil
}

func (c *conn) addToStoreNAR(ctx context.Context, req *protocol.AddToStoreNarRequest, b *body) (*protocol.None, error) {
	adder, ok := store.As[store.NARAdder](c.store)
	if !ok {
		return nil, unsupportedOperation("addToStore")
	}
	if err := c.limitSignatures(&req.Info); err != nil {
		return nil, err
	}
	opts, err := c.addOptions(req.Repair, req.DontCheckSigs)
	if err != nil {
		return nil, err
	}
	return new(protocol.None), adder.AddToStoreNAR(ctx, &req.Info, b, opts)
}

func (c *conn) addMultipleToStore(ctx context.Context, req *protocol.AddMultipleToStoreRequest, b *body) (*protocol.None, error) {
	in := wire.NewReader(b, requestBuffer)
	n, err := in.Limited("the number of objects", protocol.MaxList)
	if err != nil {
		return nil, err
	}
	opts, err := c.addOptions(req.Repair, req.DontCheckSigs)
	if err != nil {
		return nil, err
	}
	return new(protocol.None), store.AddMultiple(ctx, c.store, int(n), c.readImports(in, n), opts)
}

// readImports yields the objects of a stream. It skips the part of an archive that the store
// has not read.
func (c *conn) readImports(in *wire.Reader, n uint64) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		for range n {
			info, err := c.readInfo(in)
			if err == nil {
				err = c.limitSignatures(info)
			}
			if err != nil {
				yield(store.Import{}, err)
				return
			}
			info.Ultimate = false // as in Nix, a stream cannot set it, not even one of a trusted user
			archive := nar.NewRawReader(in)
			if !yield(store.Import{Info: info, NAR: archive}, nil) {
				return
			}
			if _, err := io.Copy(io.Discard, archive); err != nil {
				yield(store.Import{}, fmt.Errorf("the archive of '%s': %w", info.Path, err))
				return
			}
		}
	}
}

// readInfo reads a path info from a stream. It is kept in memory, so its size counts as work.
func (c *conn) readInfo(in *wire.Reader) (*store.PathInfo, error) {
	c.startInfo()
	defer c.endInfo()
	return c.params.ReadPathInfo(in)
}

func (c *conn) addBuildLog(ctx context.Context, req *protocol.AddBuildLogRequest, b *body) (*protocol.Ack, error) {
	adder, ok := store.As[store.LogAdder](c.store)
	if !ok {
		return nil, unsupported.Errorf("Build log storage and retrieval not supported by this store")
	}
	return new(protocol.Ack), adder.AddBuildLog(ctx, req.Path, b)
}

func (c *conn) registerDrvOutput(ctx context.Context, req *protocol.RegisterDrvOutputRequest) (*protocol.None, error) {
	if err := c.checkDrvOutput(req.Realisation.ID); err != nil {
		return nil, err
	}
	if _, ok := store.As[store.RealisationStore](c.store); !ok {
		return nil, unsupportedOperation("registerDrvOutput")
	}
	return new(protocol.None), store.RegisterRealisation(ctx, c.store, req.Realisation)
}

// narFromPath opens the archive, which is sent after the reply. So for an invalid path the
// client gets an ordinary error, where Nix sends an error in the middle of the archive.
func (c *conn) narFromPath(ctx context.Context, req *protocol.NarFromPathRequest) (*protocol.None, error) {
	r, ok := store.As[store.NARReader](c.store)
	if !ok {
		return nil, unsupportedOperation("narFromPath")
	}
	archive, err := r.NARFromPath(ctx, req.Path)
	if err != nil {
		return nil, err
	}
	c.archive = archive
	return new(protocol.None), nil
}

// A body follows a request. Its Reader returns io.EOF at the end of the body.
type body struct {
	io.Reader              // nil if the request has no body
	discard   func() error // reads the rest; nil if there is nothing to read
	unframed  bool         // an archive without frames, which the client cannot stop sending
}

// body returns the body of the request, in the form of the negotiated version.
func (c *conn) body(req protocol.Request) *body {
	row, _ := protocol.Lookup(req.Op())
	switch row.Body(c.params) {
	case protocol.FramedBody:
		frames := wire.NewFrameReader(c.reader)
		c.tunnel.uploading.Store(true)
		return &body{Reader: &uploadReader{frames, c}, discard: func() error {
			defer c.tunnel.uploading.Store(false)
			return frames.Drain()
		}}
	case protocol.NARBody:
		archive := nar.NewRawReader(c.reader)
		c.tunnel.uploading.Store(true)
		return &body{Reader: &uploadReader{archive, c}, unframed: true, discard: func() error {
			defer c.tunnel.uploading.Store(false)
			_, err := io.Copy(io.Discard, archive)
			return err
		}}
	case protocol.AskedBody:
		// An archive contains its own end. The client fails if the server asks for more than
		// the archive, and sends only what the server asks for.
		return &body{Reader: nar.NewRawReader(wire.NewReader(&askingReader{c: c}, askSize))}
	}
	return &noBody
}

// noBody is empty. Most requests have no body.
var noBody body

// drain reads the rest of the body, so that the next request can be read.
func (b *body) drain() error {
	if b.discard == nil {
		return nil
	}
	return b.discard()
}

// An uploadReader records the end of the body.
type uploadReader struct {
	io.Reader
	c *conn
}

func (u *uploadReader) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil {
		u.c.tunnel.uploading.Store(false)
	}
	return n, err
}

// askSize is the number of bytes in each request for more bytes.
const askSize = 64 << 10

// An askingReader asks the client for bytes when they are read.
type askingReader struct {
	c    *conn
	left []byte // received, but not read yet
}

func (a *askingReader) Read(p []byte) (int, error) {
	if len(a.left) == 0 {
		ask, err := a.c.params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageRead, Want: askSize})
		if err != nil {
			return 0, err
		}
		a.c.out.queue(ask)
		if a.left, err = a.c.reader.Bytes(askSize); err != nil {
			return 0, err
		}
		if len(a.left) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
	}
	n := copy(p, a.left)
	a.left = a.left[n:]
	return n, nil
}

// fileIn returns the contents of the single file in an archive.
func fileIn(archive io.Reader) (io.Reader, error) {
	r := nar.NewReader(archive)
	entry, err := r.Next()
	if err != nil {
		return nil, err
	}
	if entry.Kind != nar.Regular || entry.Executable {
		return nil, errNoFile
	}
	return r, nil
}
