package daemontest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"pix/protocol"
)

// readTrace reads a trace of package daemon in which nothing was cut. It returns the
// conversations in the order of their starts. It ignores empty lines and lines that start with
// "#". The error is a [*protocol.TraceError] or an error of the reader.
func readTrace(r io.Reader) ([]*conversation, error) {
	f := &traceFile{byNumber: make(map[int]*recorder)}
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		if text := strings.TrimRight(line, "\r\n"); text != "" && text[0] != '#' {
			if err := f.line(n, text); err != nil {
				return nil, err
			}
		}
		if err == io.EOF {
			return f.conversations, nil
		}
	}
}

// A traceFile collects the lines of a trace.
type traceFile struct {
	conversations []*conversation
	byNumber      map[int]*recorder
}

// line adds a line: time, number of the connection, direction, text.
func (f *traceFile) line(n int, line string) error {
	clock, rest, _ := strings.Cut(line, " ")
	number, rest, _ := strings.Cut(rest, " ")
	direction, text, _ := strings.Cut(rest, " ")
	fail := func(column int, what string, err error) error {
		return &protocol.TraceError{Line: n, Column: column, What: what, Err: err}
	}
	if _, err := time.Parse("15:04:05.000000", clock); err != nil {
		return fail(1, "time", fmt.Errorf("%q is not a time of day", clock))
	}
	conn, err := strconv.Atoi(number)
	if err != nil || conn < 0 {
		return fail(len(clock)+2, "connection", fmt.Errorf("%q is not a number", number))
	}
	r := f.byNumber[conn]
	if r == nil {
		r = &recorder{conversation: &conversation{number: conn}}
		f.byNumber[conn] = r
		f.conversations = append(f.conversations, r.conversation)
	}
	err = r.addLine(n, direction, text)
	before := len(line) - len(text)
	var e *protocol.TraceError
	switch {
	case errors.Is(err, protocol.ErrTraceCut) && errors.As(err, &e):
		return fail(before+e.Column, e.What, fmt.Errorf("%w; record it in full (daemon.Options.TraceBody: -1, pix --trace-bodies, or pix monitor --bodies)", e.Err))
	case errors.As(err, &e):
		return fail(before+e.Column, e.What, e.Err)
	case err != nil:
		return fail(before+1, "conversation", err)
	}
	return nil
}

// A recorder collects the lines of one connection.
type recorder struct {
	*conversation
	welcomed bool            // the handshake has ended
	pending  []*recordedCall // calls without a reply, in the order of the requests
	replying bool            // the reply to the first pending call comes next
	archive  *recordedCall   // the call whose archive may come next
	closed   bool
}

func (r *recorder) addLine(line int, direction, text string) error {
	name, _, _ := strings.Cut(text, " ")
	switch {
	case r.closed:
		return errors.New("the connection was closed before")
	case direction == "×":
		byDaemon, _, err := protocol.ParseTraceClosed(text)
		r.closed, r.daemonHungUp = true, byDaemon
		return err
	case direction == "←" && !r.greeted:
		return r.greet(text)
	case !r.greeted:
		return errors.New("the greeting of the daemon is missing")
	case direction == "→" && name == "body":
		return r.body(line, text)
	case direction == "→":
		return r.request(line, text)
	case direction != "←":
		return fmt.Errorf("%q is not a direction, expected → ← or ×", direction)
	case r.replying:
		return r.reply(line, text)
	case r.archive != nil && name == "body":
		if _, _, isDigest, _ := protocol.ParseTraceDigest(text); isDigest {
			return errors.New("the trace has only the hash of an archive that the daemon sends; record it with pix monitor --bodies")
		}
		data, err := protocol.ParseTraceData(text)
		r.archive.addSend(line, data)
		return err
	}
	return r.message(line, text)
}

func (r *recorder) greet(text string) (err error) {
	r.params, r.greeting, err = protocol.ParseTraceGreeting(text)
	r.greeted = true
	return err
}

func (r *recorder) request(line int, text string) error {
	req, err := r.params.ParseTraceRequest(text)
	if err != nil {
		return err
	}
	row, _ := protocol.Lookup(req.Op())
	k := &recordedCall{line: line, request: text, body: row.Body(r.params)}
	r.calls, r.pending, r.archive = append(r.calls, k), append(r.pending, k), nil
	return nil
}

// body adds a piece of the body of the last request. The daemon no longer read a piece after an
// error.
func (r *recorder) body(line int, text string) error {
	part := step{line: line}
	size, hash, isDigest, err := protocol.ParseTraceDigest(text)
	if isDigest {
		part.digest = &digest{size, hash}
	} else {
		part.receive, err = protocol.ParseTraceData(text)
	}
	if err != nil {
		return err
	}
	if len(r.calls) == 0 || r.calls[len(r.calls)-1].body == protocol.NoBody {
		return errors.New("no request has a body here")
	}
	if k := r.calls[len(r.calls)-1]; !k.failed {
		k.steps = append(k.steps, part)
	}
	return nil
}

func (k *recordedCall) addSend(line int, b []byte) {
	k.steps = append(k.steps, step{send: b, line: line})
}

// message adds a message. A message without a pending call belongs to the previous one.
func (r *recorder) message(line int, text string) error {
	m, err := r.params.ParseTraceMessage(text)
	if err != nil {
		return err
	}
	b, err := r.params.AppendMessage(nil, m)
	if err != nil {
		return err
	}
	if !r.welcomed || len(r.calls) == 0 {
		r.welcome = append(r.welcome, b...)
		r.refused = m.Kind == protocol.MessageError
		r.welcomed = r.welcomed || m.Kind == protocol.MessageLast
		return nil
	}
	if len(r.pending) == 0 {
		r.calls[len(r.calls)-1].addSend(line, b)
		return nil
	}
	k := r.pending[0]
	k.addSend(line, b)
	switch m.Kind {
	case protocol.MessageLast:
		r.replying = true
	case protocol.MessageError:
		k.answered, k.failed = len(k.steps), true
		r.pending = r.pending[1:]
	}
	return nil
}

// reply adds the reply that follows the message Last.
func (r *recorder) reply(line int, text string) error {
	op, reply, err := r.params.ParseTraceReply(text)
	if err != nil {
		return err
	}
	k := r.pending[0]
	if name, _, _ := strings.Cut(k.request, " "); name != op.String() {
		return fmt.Errorf("a reply to %s, but the request in line %d is %s", op, k.line, name)
	}
	b, err := r.params.AppendReply(nil, op, reply)
	if err != nil {
		return err
	}
	k.addSend(line, b)
	k.answered = len(k.steps)
	r.pending, r.replying = r.pending[1:], false
	if row, _ := protocol.Lookup(op); row.Archive {
		r.archive = k
	}
	return nil
}
