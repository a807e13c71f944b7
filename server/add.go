package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

var errNoFile = errors.New("what was added is not a regular file, or is executable")

// addToStore adds contents. A client from before 1.25 sends an archive also where the file
// itself is wanted.
func (c *conn) addToStore(ctx context.Context, req *protocol.AddToStoreRequest, b *body) (*protocol.AddToStoreReply, error) {
	contents := io.Reader(b)
	if b.whole && req.Method != storepath.NAR {
		var err error
		if contents, err = fileIn(contents); err != nil {
			return nil, err
		}
	}
	info, err := c.add(ctx, req, contents)
	if err != nil {
		return nil, err
	}
	return &protocol.AddToStoreReply{Info: *info}, nil
}

func (c *conn) add(ctx context.Context, req *protocol.AddToStoreRequest, contents io.Reader) (*store.PathInfo, error) {
	adder, ok := store.As[store.Adder](c.store)
	if !ok {
		return nil, unsupported("addToStoreFromDump")
	}
	return adder.AddToStore(ctx, req.Name, req.Method, req.Algorithm, req.References, contents, &store.AddOptions{Repair: req.Repair})
}

func (c *conn) addTextToStore(ctx context.Context, req *protocol.AddTextToStoreRequest) (*protocol.PathReply, error) {
	if t, ok := store.As[store.TextAdder](c.store); ok {
		path, err := t.AddTextToStore(ctx, req.Name, req.Contents, req.References)
		return &protocol.PathReply{Path: path}, err
	}
	text := &protocol.AddToStoreRequest{Name: req.Name, Method: storepath.Text, Algorithm: nixhash.SHA256, References: req.References}
	info, err := c.add(ctx, text, strings.NewReader(req.Contents))
	if err != nil {
		return nil, err
	}
	return &protocol.PathReply{Path: info.Path}, nil
}

// addOptions returns the options with which the client adds objects. restrict has already cleared what
// an untrusted client may not set.
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

// addToStoreScanning adds contents during a build. Only the store of a running build supports it.
func (c *conn) addToStoreScanning(ctx context.Context, req *protocol.AddToStoreScanningRequest, b *body) (*protocol.AddToStoreReply, error) {
	adder, ok := store.As[store.ScanningAdder](c.store)
	if !ok {
		return nil, unsupported("addToStoreScanning")
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
		return nil, unsupported("addToStore")
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
	return new(protocol.None), store.AddMultiple(ctx, c.store, int(n), c.imports(in, n), opts)
}

// imports yields the objects of a stream. What is not read of an archive is passed over.
func (c *conn) imports(in *wire.Reader, n uint64) iter.Seq2[store.Import, error] {
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
			info.Ultimate = false // a stream is not believed that, whoever sends it
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
		return nil, fmt.Errorf("Build log storage and retrieval not supported by this store: %w", errors.ErrUnsupported)
	}
	return new(protocol.Ack), adder.AddBuildLog(ctx, req.Path, b)
}

func (c *conn) registerDrvOutput(ctx context.Context, req *protocol.RegisterDrvOutputRequest) (*protocol.None, error) {
	if err := c.checkDrvOutput(req.Realisation.ID); err != nil {
		return nil, err
	}
	if _, ok := store.As[store.RealisationStore](c.store); !ok {
		return nil, unsupported("registerDrvOutput")
	}
	return new(protocol.None), store.RegisterRealisation(ctx, c.store, req.Realisation)
}

// narFromPath opens the archive, which is sent after the reply. So a path that is not
// valid is an ordinary error; Nix begins the archive first, and cannot take it back.
func (c *conn) narFromPath(ctx context.Context, req *protocol.NarFromPathRequest) (*protocol.None, error) {
	r, ok := store.As[store.NARReader](c.store)
	if !ok {
		return nil, unsupported("narFromPath")
	}
	archive, err := r.NARFromPath(ctx, req.Path)
	if err != nil {
		return nil, err
	}
	c.archive = archive
	return new(protocol.None), nil
}
