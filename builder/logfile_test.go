package builder

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pix/store"
	"pix/storepath"
)

// A logStore is a store whose logs have room for some bytes only.
type logStore struct {
	Store
	room int
}

func (s *logStore) CreateLog(ctx context.Context, drv storepath.Path) (io.WriteCloser, error) {
	log, err := s.Store.CreateLog(ctx, drv)
	return &shortLog{log, s.room}, err
}

type shortLog struct {
	io.WriteCloser
	room int
}

func (l *shortLog) Write(p []byte) (int, error) {
	if len(p) > l.room {
		n, err := l.WriteCloser.Write(p[:l.room])
		return n, errors.Join(err, syscall.ENOSPC)
	}
	l.room -= len(p)
	return l.WriteCloser.Write(p)
}

// A log that cannot be created or written fails the build, and not the whole request. The log keeps the lines that were written before,
// and nothing else of the build is left.
func TestLogCannotBeWritten(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		const hint = "\nOutput paths:\n  OUT\nHint: make room or give permission there, or set 'keep-build-log' to false"
		fails := func(s Store, req *Request, reason string) {
			t.Helper()
			result, err := New(s, &p.opts).Build(t.Context(), req)
			text := strings.NewReplacer("DRV", string(req.Path), "OUT", string(outOf(req))).Replace("Cannot build 'DRV'.\nReason: its log cannot be written: " + reason + hint)
			if err != nil || result.Status != store.TransientFailure || result.Message != text {
				t.Errorf("%+v, %v\nwant %s", result, err, text)
			}
			p.checkClean()
			if valid, err := p.store.IsValidPath(t.Context(), outOf(req)); valid || err != nil {
				t.Error(valid, err)
			}
			if _, err := os.Lstat(p.store.ObjectFile(outOf(req))); !os.IsNotExist(err) {
				t.Errorf("the output is left: %v", err)
			}
		}
		sleep := sleeper()
		full := p.script("full", "echo partial > $out; echo 12345678; (sleep "+sleep+" &); echo 12345678; sleep "+sleep, nil)
		fails(&logStore{p.store, 12}, full, "no space left on device")
		p.checkGone(sleep)
		log, err := p.store.BuildLog(t.Context(), full.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if text, err := io.ReadAll(log); err != nil || !strings.HasPrefix(string(text), "12345678") || len(text) != 12 {
			t.Errorf("the log is %q, %v", text, err)
		}
		p.opts.DiscardLog = true
		p.mustBuild(p.script("discarded", "echo 12345678; echo > $out", nil))
		p.opts.DiscardLog = false

		logs := filepath.Join(p.store.Info().LogDir, "drvs")
		if err := errors.Join(os.RemoveAll(logs), os.WriteFile(logs, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		req := p.script("uncreated", "echo > $out", nil)
		_, err = p.store.CreateLog(t.Context(), req.Path)
		if err == nil {
			t.Fatal("the log was created")
		}
		fails(p.store, req, err.Error())
		if err := os.Remove(logs); err != nil {
			t.Fatal(err)
		}
		p.mustBuild(req)
	})
}
