package builder

import (
	"errors"
	"io"
	"strings"
	"sync"

	"pix/activity"
)

const (
	// maxLogLine is how long a line of a log may be in bytes. A longer one is reported as several lines, so that a builder cannot fill
	// the memory of this process.
	maxLogLine = 1 << 20

	// maxLogTail is how many bytes of the log the message of a failed build has at most.
	maxLogTail = 3 << 20
)

// A buildLog receives the output of a builder. It writes the bytes to the log file, splits them into lines, and
// reports each line as a result of the activity of the build.
//
// Like a terminal, it overwrites the line after a carriage return, so only the last state of a progress bar stays. A
// carriage return before a line feed belongs to the line end. Nix 2.34 reports such lines as empty.
type buildLog struct {
	file    io.Writer // nil if no log is kept
	events  activity.Handler
	id      activity.ID             // of the build
	most    int                     // the number of lines in tail
	maxSize uint64                  // 0 is no limit
	onWrite func(size uint64) error // called for each write of the builder, with the size of the log
	onPhase func(phase string)

	mu      sync.Mutex
	err     error // why the build was ended
	size    uint64
	line    []byte
	column  int
	pending bool // the last byte was a carriage return

	tail      []string
	tailBytes int

	nested nestedActivities
}

// errLogLimit ends a build whose log exceeds the limit.
var errLogLimit = errors.New("the log is too large")

// Write adds output of the builder. An error ends the build.
func (l *buildLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	l.size += uint64(len(p))
	if l.err = l.onWrite(l.size); l.err != nil {
		return 0, l.err
	}
	if l.maxSize > 0 && l.size > l.maxSize {
		l.err = errLogLimit
		return 0, l.err
	}
	if l.file != nil {
		if _, l.err = l.file.Write(p); l.err != nil {
			return 0, l.err
		}
	}
	for _, c := range p {
		l.add(c)
	}
	return len(p), nil
}

func (l *buildLog) add(c byte) {
	if l.pending {
		l.pending = false
		if c != '\n' {
			l.column = 0
		}
	}
	switch {
	case c == '\r':
		l.pending = true
	case c == '\n':
		l.endLine()
	default:
		if l.column == len(l.line) {
			l.line = append(l.line, c)
		} else {
			l.line[l.column] = c
		}
		if l.column++; l.column == maxLogLine {
			l.endLine()
		}
	}
}

// endLine reports the current line up to the column.
func (l *buildLog) endLine() {
	line := string(l.line[:l.column])
	l.line, l.column = l.line[:0], 0
	if message, ok := strings.CutPrefix(line, "@nix "); ok && l.handleMessage(message) {
		return
	}
	l.events.HandleEvent(activity.Result{ID: l.id, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text(line)}})
	l.keep(line)
}

// keep adds a line to the tail.
func (l *buildLog) keep(line string) {
	l.tail = append(l.tail, line)
	l.tailBytes += sizeInTail(line)
	for len(l.tail) > l.most || len(l.tail) > 1 && l.tailBytes > maxLogTail {
		l.tailBytes -= sizeInTail(l.tail[0])
		l.tail = l.tail[1:]
	}
}

// sizeInTail returns how much memory a line takes in the tail. An empty one takes some, too.
func sizeInTail(line string) int { return len(line) + 16 }

// end reports a last line without a line feed, and ends the activities that the builder has not ended.
func (l *buildLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) > 0 {
		l.endLine()
	}
	l.nested.end(l.events)
}

// logLines returns how many lines of the log the message of a failed build has.
func (o *Options) logLines() int {
	switch {
	case o.LogLines == 0:
		return 25
	case o.LogLines < 0:
		return 0
	}
	return o.LogLines
}
