package monitor

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pix/internal/redact"
	"pix/nixhash"
	"pix/protocol"
)

// A Recorder writes the conversations of a [Monitor] to a file, as a trace that
// daemontest.Replay reads. The trace has only requests and replies, so the events stand in comments
// between its lines, for [ReadRecording].
//
// Unless [Recorder.Bodies] is set, a recording has hashes and sizes in place of the contents of
// uploads, downloads and texts that a client adds. It then has neither logins in URLs nor the values
// of secret environment variables of builds. It never has the values of secret settings, such
// as access tokens.
//
// If writing fails, the recording ends, and its first line says so. The monitor goes on.
type Recorder struct {
	// Bodies makes the recording contain all contents. Set it before the first connection.
	Bodies bool

	// Failed gets the error with which the recording ends, if it is not nil.
	Failed func(error)

	mu        sync.Mutex
	file      *os.File
	isRegular bool // the first line can be changed
	size      int64
	buf       []byte
	err       error
	ended     bool

	missed atomic.Int64 // connections without a recording
}

// The first line of a recording says whether it is complete. It has a fixed length, so that it can
// be changed on a full disk.
const (
	headerPrefix = "# recording of pix monitor: "
	headerSize   = 120
	statusOpen   = "not complete, the monitor still runs or was killed"
	eventPrefix  = "#event "
)

// StatusComplete is the status of a complete recording: see [ReadRecording].
const StatusComplete = "complete"

// bufferedRecords is the size in bytes from which on lines are written to the file.
const bufferedRecords = 64 << 10

// prepare writes the first line.
func (r *Recorder) prepare() error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	r.isRegular = info.Mode().IsRegular()
	r.buf = append(r.buf, header(statusOpen)...)
	r.write()
	return r.err
}

// header returns the first line.
func header(status string) string {
	text := headerPrefix + shownStatus(status)
	return text + strings.Repeat(" ", headerSize-1-len(text)) + "\n"
}

func shownStatus(status string) string {
	status = strings.ToValidUTF8(plain(status), "")
	return strings.ToValidUTF8(status[:min(len(status), headerSize-1-len(headerPrefix))], "")
}

// Close writes the buffered lines and closes the file. It returns the error with which the recording
// has ended.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return r.err
	}
	if r.write(); r.err == nil {
		status := StatusComplete
		if n := r.missed.Load(); n > 0 {
			status = fmt.Sprintf("not complete, %d connections are missing", n)
		}
		r.setStatus(status)
	}
	r.ended = true
	if err := r.file.Close(); r.err == nil {
		r.err = err
	}
	return r.err
}

// miss counts a connection that is not recorded. It takes no lock, because a disk may be slow.
func (r *Recorder) miss() {
	if r != nil {
		r.missed.Add(1)
	}
}

func (r *Recorder) setStatus(status string) {
	if r.isRegular {
		r.file.WriteAt([]byte(header(status)), 0) //nolint:errcheck // the old status also says that something is missing
	}
}

// write writes the buffered lines. After an error it keeps the complete lines, and writes no more.
func (r *Recorder) write() {
	if r.err != nil || r.ended || len(r.buf) == 0 {
		r.buf = nil
		return
	}
	n, err := r.file.Write(r.buf)
	if err != nil {
		r.err = err
		if r.isRegular {
			r.file.Truncate(r.size + int64(bytes.LastIndexByte(r.buf[:n], '\n')+1)) //nolint:errcheck // readers ignore half a line
		}
		r.setStatus("ends early: " + ending(err).Error())
		if r.Failed != nil {
			go r.Failed(err) // it must not call back while the lock is held
		}
	}
	r.size += int64(n)
	if r.buf = r.buf[:0]; cap(r.buf) > 4*bufferedRecords {
		r.buf = nil
	}
}

// add adds a line.
func (r *Recorder) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil || r.ended {
		return
	}
	r.buf = append(append(r.buf, line...), '\n')
	if len(r.buf) >= bufferedRecords {
		r.write()
	}
}

// queueLimit returns how many bytes of a connection may wait. With the contents there are more.
func (r *Recorder) queueLimit() int {
	if r != nil && r.Bodies {
		return 2 * maxQueued
	}
	return maxQueued
}

// connection returns the recording of a connection, or nil.
func (r *Recorder) connection(number int) *recording {
	if r == nil {
		return nil
	}
	return &recording{r, number}
}

// A recording records one connection. A nil recording records nothing.
type recording struct {
	*Recorder
	number int
}

func (r *recording) line(at time.Time, direction, text string) {
	if !r.Bodies {
		text = redact.Text(text)
	}
	r.add(fmt.Sprintf("%s %d %s %s", at.Format("15:04:05.000000"), r.number, direction, text))
}

// flush writes the buffered lines.
func (r *recording) flush() {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.write()
	}
}

func (r *recording) greeting(at time.Time, p protocol.Params, g protocol.Greeting) {
	if r != nil {
		r.line(at, "←", p.TraceGreeting(g))
	}
}

// request records a request. The contents of AddTextToStore are cut, which a replay reports.
func (r *recording) request(at time.Time, p protocol.Params, req protocol.Request) {
	if r == nil {
		return
	}
	most := -1
	if text, ok := req.(*protocol.AddTextToStoreRequest); ok && !r.Bodies {
		most = 0
		r.add(fmt.Sprintf("# the contents of the next request have %d bytes, sha256 %x", len(text.Contents), sha256.Sum256([]byte(text.Contents))))
	}
	if _, isSettings := req.(*protocol.SetOptionsRequest); isSettings || !r.Bodies {
		req = protocol.WithoutSecrets(req)
	}
	r.line(at, "→", p.TraceRequest(req, most))
}

func (r *recording) message(at time.Time, p protocol.Params, m protocol.Message) {
	if r == nil {
		return
	}
	most := -1
	if m.Kind == protocol.MessageWrite && !r.Bodies {
		most = 0
	}
	r.line(at, "←", p.TraceMessage(m, most))
}

func (r *recording) reply(at time.Time, p protocol.Params, op protocol.Op, reply protocol.Reply) {
	if r != nil {
		r.line(at, "←", p.TraceReply(op, reply, -1))
	}
}

func (r *recording) raw(from Direction, reason string) {
	if r != nil {
		r.add(fmt.Sprintf("# connection %d is not recorded any further, because of the %s: %s", r.number, from, plain(redact.Text(reason))))
	}
}

func (r *recording) close(at time.Time, c *Close) {
	if r != nil {
		why := c.Reason
		if why == "" {
			why = "EOF"
		}
		r.line(at, "×", protocol.TraceClosed(c.By == FromDaemon, why))
	}
}

// event records an event in a comment.
func (r *recording) event(e *Event) {
	if r == nil {
		return
	}
	if e.Raw != nil && len(e.Raw.Start) > 0 && !r.Bodies { // they may belong to a secret
		raw := *e.Raw
		raw.Start = nil
		e = &Event{Time: e.Time, Conn: e.Conn, Raw: &raw}
	}
	b, err := json.Marshal(e)
	if err != nil { // no event has values that JSON cannot express
		b = []byte("{}")
	}
	r.add(eventPrefix + string(b))
}

// A bodyRecorder records a body: in pieces, or at its end by its size and hash. A nil bodyRecorder
// records nothing.
type bodyRecorder struct {
	*recording
	at   time.Time
	from Direction
	hash hash.Hash
	size int64
	data []byte // with Bodies: contents without a line
}

func (r *recording) body(at time.Time, from Direction) *bodyRecorder {
	if r == nil {
		return nil
	}
	return &bodyRecorder{recording: r, at: at, from: from, hash: sha256.New()}
}

func (b *bodyRecorder) write(p []byte) {
	switch {
	case b == nil || len(p) == 0:
	case b.Bodies:
		if b.data = append(b.data, p...); len(b.data) >= bodyLine { // a client may send many small frames
			b.writeData()
		}
	default:
		b.size += int64(len(p))
		b.hash.Write(p)
	}
}

// bodyLine is the size in bytes from which on the contents get a line.
const bodyLine = 32 << 10

// writeData records the contents that have no line yet.
func (b *bodyRecorder) writeData() {
	if len(b.data) > 0 {
		b.line(b.at, b.from.arrow(), protocol.TraceData(b.data, -1))
		b.data = b.data[:0]
	}
}

// end ends a body. If some of it was not seen, there is no hash.
func (b *bodyRecorder) end(at time.Time, whole bool) {
	if b == nil {
		return
	}
	b.writeData()
	switch {
	case b.Bodies && whole:
	case !whole:
		b.add(fmt.Sprintf("# bytes of the last body of connection %d are missing", b.number))
	default:
		var digest [sha256.Size]byte
		b.line(at, b.from.arrow(), protocol.TraceDigest(uint64(b.size), nixhash.SHA256Hash([sha256.Size]byte(b.hash.Sum(digest[:0])))))
	}
}

var _ io.Closer = (*Recorder)(nil)
