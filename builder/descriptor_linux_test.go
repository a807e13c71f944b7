package builder

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pix/builder/sandbox"
	"pix/derivation"
)

// A receiver is a process of the machine that waits for a descriptor.
type receiver struct {
	listener *net.UnixListener
	files    chan *os.File
}

func newReceiver(t *testing.T, address string) *receiver {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{l, make(chan *os.File, 1)}
	go func() {
		defer close(r.files)
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer conn.Close()
		oob := make([]byte, 64)
		_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), oob)
		if err != nil {
			return
		}
		messages, err := syscall.ParseSocketControlMessage(oob[:n])
		if err != nil || len(messages) == 0 {
			return
		}
		if fds, err := syscall.ParseUnixRights(&messages[0]); err == nil {
			r.files <- os.NewFile(uintptr(fds[0]), "received")
		}
	}()
	t.Cleanup(func() { l.Close() })
	return r
}

// received returns the file that a builder has sent. It gives up sooner if none is expected.
func (r *receiver) received(isPassed bool) *os.File {
	timeout := 50 * time.Millisecond
	if isPassed {
		timeout = hang
	}
	r.listener.SetDeadline(time.Now().Add(timeout))
	return <-r.files
}

// overwrite writes to the file that a builder has sent, if there is one.
func overwrite(t *testing.T, file *os.File) {
	t.Helper()
	if file == nil {
		return
	}
	if _, err := file.WriteAt([]byte("changed"), 0); err != nil {
		t.Error(err)
	}
}

// A builder passes a descriptor of its output to a process of the machine, which writes to it after the build. The registered
// output does not change, whether the builder has succeeded or not, and the next build of the derivation is not affected.
func TestDescriptorPassedOut(t *testing.T) {
	findings, err := sandbox.Examine(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	both(t, func(t *testing.T, p *place) {
		isSandboxed := len(p.opts.SandboxPaths) > 0
		if isSandboxed {
			p.opts.SandboxPaths = append(p.opts.SandboxPaths, SandboxPath{Target: program, Source: program}, SandboxPath{Target: dir, Source: dir})
		}
		for _, isFixed := range []bool{false, true} {
			for _, address := range []string{filepath.Join(dir, "socket"), fmt.Sprintf("@pix-test-%d", os.Getpid())} {
				isPassed := address[0] != '@' || findings.Landlock < 6 && (isFixed || !isSandboxed)
				for exit := range 2 {
					var change func(d *derivation.Derivation)
					if isFixed {
						change = withFixedOutput(t)
					}
					name := fmt.Sprintf("passed-%v-%v-%d-%v", isSandboxed, isFixed, address[0], exit)
					again := filepath.Join(dir, name)
					script := fmt.Sprintf("%s='%s' %s; [ -e %s ] && exit 0; exit %d", senderVariable, address, program, again, exit)
					p.passOut(p.script(name, script, change), address, again, exit == 0, isPassed)
				}
			}
		}
		p.verify()
	})
}

// passOut builds a derivation twice. The first builder passes its output to the address, if isPassed is set, and exits with success or
// not. The file named again makes the second one succeed.
func (p *place) passOut(req *Request, address, again string, succeeds, isPassed bool) {
	t, name := p.t, req.Derivation.Name
	t.Helper()
	r := newReceiver(t, address)
	if address[0] != '@' {
		if err := os.Chmod(address, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	result, events, err := p.build(req)
	if err != nil || result.Status.Succeeded() != succeeds {
		t.Fatalf("%s: %+v, %v, %q", name, result, err, linesOf(events))
	}
	file := r.received(isPassed)
	r.listener.Close()
	if file != nil {
		defer file.Close()
	}
	if (file != nil) != isPassed {
		t.Errorf("%s: the descriptor was passed: %v; %q", name, file != nil, linesOf(events))
	}
	overwrite(t, file)
	p.write(again, "")
	out := p.mustBuild(req)
	overwrite(t, file)
	if text, err := os.ReadFile(out); err != nil || string(text) != "x\n" {
		t.Errorf("%s: the output is %q, %v", name, text, err)
	}
}
