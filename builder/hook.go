package builder

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"pix/activity"
)

// A hook is a program that the administrator configures and a build runs. It inherits the environment of this
// process.
type hook struct {
	program string
	args    []string
	user    *ids   // nil means the user of this process
	dir     string // "" means the working directory of this process
}

// hookGrace is how long pix reads the output of a hook after the hook has ended. A child of the hook may keep the
// output open.
const hookGrace = 500 * time.Millisecond

// maxHookOutput is how many bytes a hook may write to each of its outputs. They are kept in memory until it ends.
const maxHookOutput = 4 << 20

// runHook runs a hook, and returns its standard output. It reports the standard error line by line. When ctx is done,
// it kills the process group of the hook.
func (b *build) runHook(ctx context.Context, h *hook) (output string, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	exceeded := func() {
		stop(fmt.Errorf("program %q killed after writing more than %d bytes of output", h.program, maxHookOutput))
	}
	stdout, stderr := &boundedBuffer{exceeded: exceeded}, &boundedBuffer{exceeded: exceeded}
	cmd := groupCommand(ctx, h.program, h.args...)
	cmd.Dir = h.dir
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if h.user != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(h.user.uid), Gid: uint32(h.user.gid)}
	}
	err = cmd.Run()
	for line := range strings.Lines(stderr.String()) {
		b.say(activity.LevelError, strings.TrimSuffix(line, "\n"))
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return stdout.String(), exitError(h.program, err)
}

// A boundedBuffer keeps the first maxHookOutput bytes, and calls exceeded when more are written.
type boundedBuffer struct {
	strings.Builder
	exceeded func()
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxHookOutput {
		b.exceeded()
		return len(p), nil // an error would end the copying, and the hook would get a signal before it is killed
	}
	return b.Builder.Write(p)
}

// A lineWriter reports the lines of a text. A line that is longer than maxLogLine is reported as several ones.
type lineWriter struct {
	report func(line string)
	line   []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part := p[:min(len(p), maxLogLine-len(w.line))]
		end := bytes.IndexByte(part, '\n')
		if end >= 0 {
			part = part[:end]
		}
		w.line = append(w.line, part...)
		p = p[len(part):]
		if end >= 0 {
			p = p[1:]
		}
		if end >= 0 || len(w.line) == maxLogLine {
			w.flush()
		}
	}
	return n, nil
}

func (w *lineWriter) flush() {
	w.report(string(w.line))
	w.line = w.line[:0]
}

// end reports a last line without a line feed.
func (w *lineWriter) end() {
	if len(w.line) > 0 {
		w.flush()
	}
}
