package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"pix/protocol"
	"pix/store"
	"pix/wire"
)

// AddMultipleToStore adds n objects, those that others refer to first, in one stream. The
// sequence and the archives are read as [Conn.AddToStore] reads contents, on another
// goroutine. An error from the sequence ends it, and breaks the connection. Objects added
// until then stays.
//
// Before protocol 1.32 the objects are added one by one, on the caller's goroutine.
func (c *Conn) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	o := addOptions(opts)
	req := &protocol.AddMultipleToStoreRequest{Repair: o.Repair, DontCheckSigs: o.NoSignatures}
	if c.params.Check(req.Op()) != nil {
		return c.addOneByOne(ctx, n, objects, opts)
	}
	_, err := upload[protocol.None](ctx, c, req, func(w io.Writer, over <-chan struct{}) error {
		return c.writeObjects(w, over, n, objects)
	})
	return err
}

// writeObjects writes the number of objects, and each of them.
func (c *Conn) writeObjects(w io.Writer, over <-chan struct{}, n int, objects iter.Seq2[store.Import, error]) error {
	head := wire.AppendUint64(nil, uint64(n))
	for object, err := range objects {
		if err == nil && n == 0 {
			err = errMoreObjects
		}
		if err == nil {
			if head, err = c.params.AppendPathInfo(head, object.Info); err != nil {
				err = &store.InfoError{Path: object.Info.Path, Err: err}
			}
		}
		if err != nil {
			return &bodyError{err}
		}
		if _, err := w.Write(head); err != nil {
			return err
		}
		size := object.Info.NARSize
		if c.alone {
			size = 0 // the daemon checks the size
		}
		if err := archive(object.NAR, size)(w, over); err != nil {
			return err
		}
		if isClosed(over) { // the next object would be computed for nothing
			return errStopped
		}
		head = head[:0]
		n--
	}
	if n != 0 {
		return &bodyError{fmt.Errorf("%d objects did not come", n)}
	}
	_, err := w.Write(head)
	return err
}

var errMoreObjects = errors.New("there are more objects than were announced")

func (c *Conn) addOneByOne(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	for object, err := range objects {
		if err == nil && n == 0 {
			err = errMoreObjects
		}
		if err != nil {
			return &bodyError{err}
		}
		if _, err := c.params.AppendPathInfo(nil, object.Info); err != nil {
			return &store.InfoError{Path: object.Info.Path, Err: err}
		}
		if err := c.AddToStoreNAR(ctx, object.Info, object.NAR, opts); err != nil {
			return err
		}
		n--
	}
	if n != 0 {
		return &bodyError{fmt.Errorf("%d objects did not come", n)}
	}
	return nil
}
