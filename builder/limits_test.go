package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pix/activity"
	"pix/store"
)

// hang is when a test gives up waiting. It says nothing about the speed of the machine.
const hang = time.Minute

// sleeper returns the duration of a sleep that no other process has, so that the process can be found.
func sleeper() string { return fmt.Sprintf("4%d.%d", os.Getpid(), rand.Uint32()) }

// checkGone checks that no process has an argument, soon after a build.
func (p *place) checkGone(argument string) {
	p.t.Helper()
	for deadline := time.Now().Add(hang); ; time.Sleep(10 * time.Millisecond) {
		found := false
		commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			p.t.Fatal(err)
		}
		for _, name := range commands {
			text, err := os.ReadFile(name)
			found = found || err == nil && bytes.Contains(text, []byte(argument))
		}
		if !found {
			return
		}
		if time.Now().After(deadline) {
			p.t.Errorf("the process with %s still runs", argument)
			return
		}
	}
}

func TestTimeouts(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		sleep := sleeper()
		p.opts.Timeout = 300 * time.Millisecond
		start := time.Now()
		p.mustFail(p.script("timeout", "sleep "+sleep, nil), store.TimedOut, "timed out after 0 seconds")
		p.mustFail(p.script("spin", "trap '' TERM INT; while :; do echo x; sleep 0.1; done", nil), store.TimedOut, "timed out after 0 seconds")
		if took := time.Since(start); took < 2*p.opts.Timeout {
			t.Errorf("two builds with a timeout of %v took %v", p.opts.Timeout, took)
		}
		p.checkGone(sleep)
	})
}

// A builder that prints something all the time may take longer than the limit of silence.
func TestMaxSilentTime(t *testing.T) {
	p := openPlace(t)
	sleep := sleeper()
	p.opts.MaxSilentTime = 2 * time.Second
	// The shell prints without starting processes, whose starts take long on a loaded machine.
	p.mustBuild(p.script("chatty", "(sleep 2.5; : > done) & while [ ! -e done ]; do echo x; done; echo > $out", nil))
	p.mustFail(p.script("silent", "echo x; exec sleep "+sleep, nil), store.TimedOut, "timed out after 2 seconds")
	p.checkGone(sleep)
}

func TestMaxLogSize(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.opts.MaxLogSize = 10_000
		p.mustFail(p.script("toolong", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", nil), store.LogLimitExceeded,
			"building derivation 'DRV' killed after writing more than 10000 bytes of log output")
		p.mustBuild(p.script("short", "i=0; while [ $i -lt 500 ]; do echo 123456789012345678; i=$((i+1)); done; echo > $out", nil))
	})
}

// A builder that closes its output and goes on has failed, as in Nix.
func TestClosedLog(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		sleep := sleeper()
		p.mustFail(p.script("closed", "exec >/dev/null 2>&1; sleep "+sleep, nil), store.PermanentFailure,
			"Cannot build 'DRV'.\nReason: builder failed due to signal 9 (Killed).\nOutput paths:\n  OUT")
		p.checkGone(sleep)
	})
}

// A builder that closes its output just before it exits has not failed. The tools of GNU do so. The shell starts no process
// in between: on a loaded machine that can take longer than the builder may go on without its output.
func TestClosedLogAtExit(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.mustBuild(p.script("closing", "echo > $out; exec >/dev/null 2>&1; i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done", nil))
	})
}

// A process in the background that holds the log does not keep the build from ending.
func TestBackgroundProcess(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		sleep := sleeper()
		p.mustBuild(p.script("background", "sleep "+sleep+" & setsid sleep "+sleep+" & echo > $out", nil)) // it would take hours
		p.checkGone(sleep)
	})
}

// When the context ends, the build ends, and leaves nothing.
func TestCancel(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		sleep := sleeper()
		cause := errors.New("the client has hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
			if r, ok := e.(activity.Result); ok && r.Type == activity.BuildLogLine {
				cancel(cause)
			}
		}))
		req := p.script("cancelled", "sleep "+sleep+" & echo started; sleep "+sleep, nil)
		result, err := New(p.store, &p.opts).Build(ctx, req)
		if !errors.Is(err, cause) {
			t.Errorf("%+v, %v", result, err)
		}
		p.checkClean()
		p.checkGone(sleep)
		p.mustFail(p.script("again", "exit 3", nil), store.PermanentFailure, "Cannot build 'DRV'.\nReason: builder failed with exit code 3.\nOutput paths:\n  OUT")
	})
}

// Many processes that make directories all the time end with the build, before its files are removed.
func TestStorm(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		sleep := sleeper()
		p.opts.Timeout = 300 * time.Millisecond
		req := p.script("storm", `mkdir $out; n=0; while [ $n -lt 20 ]; do
			sh -c 'i=0; while :; do mkdir -p $out/$1/$i d/$1/$i; i=$((i+1)); done; : `+sleep+`' sh $n & n=$((n+1)); done; wait`, nil)
		p.mustFail(req, store.TimedOut, "timed out after 0 seconds")
		p.checkGone(sleep)
		if _, err := os.Lstat(p.store.ObjectFile(outOf(req))); !os.IsNotExist(err) {
			t.Errorf("the output is left: %v", err)
		}
	})
}
