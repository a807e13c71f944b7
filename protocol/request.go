package protocol

import (
	"io"

	"pix/wire"
)

// A Request is a pointer to one of the structs named …Request. A client sends it.
type Request interface {
	Op() Op
	code(*codec)
}

// A Reply is a pointer to one of the structs named …Reply, an [Ack] or a [None]. A daemon sends
// it after the work.
type Reply interface {
	code(*codec)
}

// AppendRequest appends the number of the operation and its request. If the other side does not
// support the operation or a field that is set, the error is an [*UnsupportedError]. For an
// invalid value it is an [*Error]. After an error dst is unchanged.
func (p Params) AppendRequest(dst []byte, r Request) ([]byte, error) {
	if err := p.Check(r.Op()); err != nil {
		return dst, err
	}
	c, form := p.encoder(wire.AppendUint64(dst, uint64(r.Op())), r.Op(), "request")
	if r.code(c); c.err != nil {
		return dst, c.err
	}
	return form.out, nil
}

// ReadRequest reads the number of an operation and its request. At the end of the stream the
// error is io.EOF. If the operation is unknown or was not negotiated, the error is an
// [*UnsupportedError], and the stream cannot be read any further.
func (p Params) ReadRequest(r *wire.Reader) (Request, error) {
	at := r.Offset()
	n, err := r.Uint64()
	if err == io.EOF {
		return nil, io.EOF
	}
	c := p.decoder(r, 0, "operation")
	if c.failAt("number", at, err); c.err != nil {
		return nil, c.err
	}
	if err := p.Check(Op(n)); err != nil {
		return nil, err
	}
	c.op, c.part = Op(n), "request"
	req := rowOf(c.op).request()
	req.code(c)
	return req, c.err
}

// NewReply returns an empty reply to the operation, or nil if it is unknown.
func NewReply(op Op) Reply {
	if row := rowOf(op); row != nil {
		return row.reply()
	}
	return nil
}

// AppendReply appends the reply to an operation. For an invalid value the error is an [*Error],
// and dst is unchanged.
func (p Params) AppendReply(dst []byte, op Op, r Reply) ([]byte, error) {
	c, form := p.encoder(dst, op, "reply")
	if r.code(c); c.err != nil {
		return dst, c.err
	}
	return form.out, nil
}

// ReadReply reads the reply to an operation into r. Errors are of type [*Error].
func (p Params) ReadReply(in *wire.Reader, op Op, r Reply) error {
	c := p.decoder(in, op, "reply")
	r.code(c)
	return c.err
}

// IsQuery reports whether the request is a [Operation.Query] that can be pipelined. A
// [QueryValidPathsRequest] that substitutes is not: it can take as long as a download.
func IsQuery(r Request) bool {
	if q, ok := r.(*QueryValidPathsRequest); ok && q.Substitute {
		return false
	}
	row := rowOf(r.Op())
	return row != nil && row.Query
}

// NeedsTrust reports whether a daemon refuses the request of a user that it does not trust.
// Some daemons read the body of a refused request as the next operation, so a client should not
// send it.
//
// A daemon does not refuse other requests of such a user, but limits them: [SetOptionsRequest]
// sets only a few settings, signatures are checked despite
// [AddToStoreNarRequest].DontCheckSigs, and roots are shown as "{censored}".
func (p Params) NeedsTrust(r Request) bool {
	if t, ok := r.(interface{ needsTrust(Params) bool }); ok {
		return t.needsTrust(p)
	}
	row := rowOf(r.Op())
	return row != nil && row.Access == TrustedOnly
}
