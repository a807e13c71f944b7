package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pix/derivation"
	"pix/storepath"
)

// The socket of a builder accepts only the users of its build.
func TestBuilderListener(t *testing.T) {
	for _, test := range []struct {
		owner ids
		admit bool
	}{
		{ids{os.Geteuid(), 0, 0}, true},
		{ids{os.Geteuid() + 1, 0, 1}, false},
		{ids{max(os.Geteuid()-1, 0), 0, 2}, true},
		{ids{os.Geteuid() + 1, 0, 65536}, false},
	} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(t.TempDir(), "socket")})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		accepted := make(chan net.Conn, 1)
		go func() {
			if nc, err := (&builderListener{l, test.owner}).Accept(); err == nil {
				accepted <- nc
			}
		}()
		nc, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if test.admit {
			(<-accepted).Close()
			continue
		}
		nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a client of %+v is not refused: %v", test.owner, err)
		}
	}
}

// A scope has its paths once, limits their number, and refuses outputs of the build.
func TestScope(t *testing.T) {
	s := newStore(t)
	f := newFixture(t, s, newDerivation(t, "x", nil, inputAddressed("out")))
	input, err := s.AddTextToStore(t.Context(), "input", "input", nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.AddTextToStore(t.Context(), "other", "other", nil)
	if err != nil {
		t.Fatal(err)
	}
	f.closure[input] = true
	scope := newScope(f.build)
	if scope.Has(other) || !scope.Has(input) {
		t.Error("the scope does not have exactly the input")
	}
	for range 2 {
		if err := scope.Add(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	if err := scope.Add(t.Context(), input); err != nil {
		t.Error(err)
	}
	if paths := scope.Paths(); len(paths) != 2 || !scope.Has(other) {
		t.Errorf("the scope has %q", paths)
	}
	if err := scope.Add(t.Context(), f.output("out").path); err == nil || !strings.Contains(err.Error(), "is an output of the build") {
		t.Errorf("an output: %v", err)
	}
	for i := len(scope.added); i < maxAdded; i++ {
		scope.added[storepath.Path(fmt.Sprint(i))] = true
	}
	third, err := s.AddTextToStore(t.Context(), "third", "third", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := scope.Add(t.Context(), third); err == nil || !strings.Contains(err.Error(), "which is the limit") {
		t.Errorf("one path above the limit: %v", err)
	}
}

// Without a server, such a derivation is an error.
func TestRecursiveDisabled(t *testing.T) {
	p := openPlace(t)
	p.opts.SystemFeatures = []string{recursiveFeature}
	req := p.script("x", "true", func(d *derivation.Derivation) { d.Env.Set("requiredSystemFeatures", recursiveFeature) })
	if _, _, err := p.build(req); err == nil || !strings.Contains(err.Error(), "'recursive-nix' is disabled") {
		t.Error(err)
	}
}

// When the function that serves the store fails or panics, the build does not hang, and the panic reaches the caller.
func TestServeFails(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.opts.SystemFeatures = []string{recursiveFeature}
		req := p.script("x", "echo > $out", func(d *derivation.Derivation) { d.Env.Set("requiredSystemFeatures", recursiveFeature) })
		req.Serve = func(context.Context, net.Listener, *Scope) error { return errors.New("no server") }
		p.mustBuild(req)
		req = p.script("y", "echo > $out", func(d *derivation.Derivation) { d.Env.Set("requiredSystemFeatures", recursiveFeature) })
		req.Serve = func(context.Context, net.Listener, *Scope) error { panic("in the server") }
		defer func() {
			if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "in the server") {
				t.Errorf("recovered %v", v)
			}
			p.checkClean()
		}()
		p.build(req)
		t.Error("the panic did not reach the caller")
	})
}
