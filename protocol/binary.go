package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"pix/activity"
	"pix/nixhash"
	"pix/wire"
)

// A binaryEncoder appends values as the wire has them.
type binaryEncoder struct{ out []byte }

// encoder returns a codec that appends to dst, and its form, which holds the result.
func (p Params) encoder(dst []byte, op Op, part string) (*codec, *binaryEncoder) {
	both := &struct { // one allocation for both
		codec codec
		form  binaryEncoder
	}{codec: codec{Params: p, op: op, part: part}, form: binaryEncoder{out: dst}}
	both.codec.form = &both.form
	return &both.codec, &both.form
}

func (*binaryEncoder) isText() bool  { return false }
func (*binaryEncoder) offset() int64 { return -1 }

func (*binaryEncoder) locate(what string, _ int64, err error) error { return encodingError(what, err) }

// encodingError adds the name of a field to the error that it has caused in an encoder. An
// UnsupportedError stays as it is, since the caller looks for it.
func encodingError(what string, err error) error {
	var unsupported *UnsupportedError
	if errors.As(err, &unsupported) {
		return err
	}
	return &Error{What: what, Offset: -1, Err: err}
}

func (e *binaryEncoder) number(_ string, n, limit uint64, _ namer) (uint64, error) {
	return e.hiddenNumber(n, limit)
}

func (e *binaryEncoder) hiddenNumber(n, limit uint64) (uint64, error) {
	if n > limit {
		return n, overLimit(n, limit)
	}
	e.out = wire.AppendUint64(e.out, n)
	return n, nil
}

func overLimit(n, limit uint64) error {
	return fmt.Errorf("%d is more than the limit of %d", n, limit)
}

func (e *binaryEncoder) bool(_ string, b bool) (bool, error) {
	var n uint64
	if b {
		n = 1
	}
	e.out = wire.AppendUint64(e.out, n)
	return b, nil
}

func (e *binaryEncoder) tag(field string, b bool) (bool, error)      { return e.bool(field, b) }
func (e *binaryEncoder) optional(field string, b bool) (bool, error) { return e.bool(field, b) }

func (e *binaryEncoder) name(_, s string, limit int) (string, error) {
	if err := checkLen(len(s), limit); err != nil {
		return s, err
	}
	e.out = wire.AppendString(e.out, s)
	return s, nil
}

func checkLen(n, limit int) error {
	if n > limit {
		return fmt.Errorf("%d bytes are more than the limit of %d", n, limit)
	}
	return nil
}

func (e *binaryEncoder) string(field, s string) (string, error) {
	return e.name(field, s, MaxString)
}

func (e *binaryEncoder) hiddenName(s string) (string, error) { return e.name("", s, MaxPath) }

func (e *binaryEncoder) bytes(field string, b []byte) ([]byte, error) {
	_, err := e.string(field, string(b))
	return b, err
}

func (e *binaryEncoder) hash(_ string, h nixhash.Hash) (nixhash.Hash, error) {
	e.out = wire.AppendUint64(e.out, 2*sha256.Size) // a multiple of the word size, so it needs no padding
	e.out = h.AppendBase16(e.out)
	return h, nil
}

func (e *binaryEncoder) event(field string, f activity.Field) (activity.Field, error) {
	text, isText := f.Text()
	if e.bool(field, isText); isText {
		_, err := e.string(field, text)
		return f, err
	}
	n, _ := f.Number()
	e.out = wire.AppendUint64(e.out, n)
	return f, nil
}

func (e *binaryEncoder) openList(_ string, n, limit uint64) (listState, error) {
	_, err := e.hiddenNumber(n, limit)
	return listState{size: n}, err
}

func (*binaryEncoder) next(l listState, i uint64) (bool, error) { return i < l.size, nil }
func (*binaryEncoder) closeList(listState)                      {}

// A binaryDecoder reads values from the wire.
type binaryDecoder struct {
	in    *wire.Reader
	start int64 // the offset of the last value
}

// decoder returns a codec that reads from in.
func (p Params) decoder(in *wire.Reader, op Op, part string) *codec {
	both := &struct { // one allocation for both
		codec codec
		form  binaryDecoder
	}{codec: codec{Params: p, op: op, part: part, decoding: true}, form: binaryDecoder{in: in}}
	both.codec.form = &both.form
	return &both.codec
}

func (*binaryDecoder) isText() bool    { return false }
func (d *binaryDecoder) offset() int64 { return d.in.Offset() }

func (d *binaryDecoder) locate(what string, at int64, err error) error {
	var unsupported *UnsupportedError
	if errors.As(err, &unsupported) {
		return err
	}
	if at < 0 {
		at = d.start
	}
	var inner *wire.Error
	if errors.As(err, &inner) { // it states a more precise offset in its message
		at = -1
	}
	return &Error{What: what, Offset: at, Err: err}
}

// inside turns the end of the stream into an error: a value was expected.
func inside(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (d *binaryDecoder) number(_ string, n, limit uint64, _ namer) (uint64, error) {
	return d.hiddenNumber(n, limit)
}

func (d *binaryDecoder) hiddenNumber(_, limit uint64) (uint64, error) {
	d.start = d.in.Offset()
	n, err := d.in.Limited("a number", limit)
	return n, inside(err)
}

func (d *binaryDecoder) bool(string, bool) (bool, error) {
	d.start = d.in.Offset()
	b, err := d.in.Bool()
	return b, inside(err)
}

func (d *binaryDecoder) tag(string, bool) (bool, error) {
	n, err := d.hiddenNumber(0, 1)
	return n == 1, err
}

func (d *binaryDecoder) optional(field string, b bool) (bool, error) { return d.tag(field, b) }

func (d *binaryDecoder) name(_, _ string, limit int) (string, error) {
	d.start = d.in.Offset()
	s, err := d.in.String(limit)
	return s, inside(err)
}

func (d *binaryDecoder) string(field, s string) (string, error) {
	return d.name(field, s, MaxString)
}

func (d *binaryDecoder) hiddenName(s string) (string, error) { return d.name("", s, MaxPath) }

func (d *binaryDecoder) bytes(string, []byte) ([]byte, error) {
	d.start = d.in.Offset()
	b, err := d.in.Bytes(MaxString)
	return slices.Clone(b), inside(err)
}

func (d *binaryDecoder) hash(string, nixhash.Hash) (nixhash.Hash, error) {
	d.start = d.in.Offset()
	b, err := d.in.Bytes(MaxPath)
	if err != nil {
		return nixhash.Hash{}, inside(err)
	}
	var digest [sha256.Size]byte
	if len(b) == 2*len(digest) { // the encoding that daemons send needs no allocation
		if _, err := hex.Decode(digest[:], b); err == nil {
			return nixhash.SHA256Hash(digest), nil
		}
	}
	return parseNARHash(string(b))
}

func (d *binaryDecoder) event(field string, _ activity.Field) (activity.Field, error) {
	isText, err := d.tag(field, false)
	switch {
	case err != nil:
		return activity.Field{}, err
	case isText:
		s, err := d.string(field, "")
		return activity.Text(s), err
	}
	n, err := d.in.Uint64()
	return activity.Number(n), inside(err)
}

func (d *binaryDecoder) openList(_ string, n, limit uint64) (listState, error) {
	n, err := d.hiddenNumber(n, limit)
	return listState{size: n, capacity: min(n, d.capacity())}, err
}

// capacity returns how many elements of a list are allocated before the first has been
// read. The announced number may be a lie. An element is at least one word, so the capacity
// is not much more than the number of words in the buffer.
func (d *binaryDecoder) capacity() uint64 {
	const least, most = 8, 1024
	return uint64(min(least+d.in.Buffered()/wire.WordSize, most))
}

func (*binaryDecoder) next(l listState, i uint64) (bool, error) { return i < l.size, nil }
func (*binaryDecoder) closeList(listState)                      {}
