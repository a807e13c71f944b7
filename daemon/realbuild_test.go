package daemon_test

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// newDerivation returns a derivation that runs a shell script, without output paths. The
// default output is "out".
func newDerivation(name, script string, outputs ...string) *derivation.Derivation {
	if len(outputs) == 0 {
		outputs = []string{"out"}
	}
	d := &derivation.Derivation{
		Name: name, Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-c", script},
	}
	d.Env.Set("name", name)
	d.Env.Set("PATH", "/usr/bin:/bin")
	for _, output := range outputs {
		d.Outputs.Set(output, derivation.DeferredOutput())
		d.Env.Set(output, "")
	}
	return d
}

// addDerivation computes the output paths and adds the derivation to the store.
func addDerivation(t *testing.T, c *daemon.Conn, d *derivation.Derivation, inputs derivation.InputHashes) storepath.Path {
	t.Helper()
	if err := d.FillOutputPaths(inputs, nil); err != nil {
		t.Fatal(err)
	}
	want, err := d.Path()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.AddTextToStore(t.Context(), d.Name+storepath.DerivationExt, d.String(), d.References().Slice())
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("the derivation was added as %s, want %s", got, want)
	}
	return got
}

func outPath(t *testing.T, d *derivation.Derivation, output string) storepath.Path {
	t.Helper()
	o, ok := d.Outputs.Get(output)
	if !ok || o.Path() == "" {
		t.Fatalf("derivation %s has no path for %s", d.Name, output)
	}
	return o.Path()
}

// The daemon builds a derivation by pix with an input derivation and an input source. The
// outputs have the paths that pix computed.
func TestRealBuild(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		c := dialReal(t, d)
		ctx := t.Context()
		source, err := c.AddTextToStore(ctx, "greeting", "hello", nil)
		if err != nil {
			t.Fatal(err)
		}
		dep := newDerivation("dep", `echo -n "$(cat `+string(source)+`) from dep" > $out; echo dev > $dev`, "out", "dev")
		dep.InputSources.Add(source)
		depDrv := addDerivation(t, c, dep, nil)
		depHash, err := dep.HashModulo(derivation.AsInput, nil, nil)
		if err != nil {
			t.Fatal(err)
		}

		top := newDerivation("top", `echo "building top"; echo "$(cat `+string(outPath(t, dep, "out"))+`), and top" > $out`)
		top.InputDerivations.Set(depDrv, derivation.OutputsOf("out"))
		top.InputSources.Add(source)
		topDrv := addDerivation(t, c, top, func(p storepath.Path) (derivation.ModuloHash, bool) { return depHash, p == depDrv })

		for range 2 {
			if err := c.BuildPaths(ctx, allOutputsOf(topDrv), store.BuildNormal); err != nil {
				t.Fatal(err)
			}
		}
		built, err := os.ReadFile(d.HostPath(string(outPath(t, top, "out"))))
		if err != nil || string(built) != "hello from dep, and top\n" {
			t.Errorf("%q, %v", built, err)
		}
		info, err := c.QueryPathInfo(ctx, outPath(t, top, "out"))
		if err != nil || info.Deriver != topDrv || !info.Ultimate || !info.CA.IsZero() {
			t.Errorf("%+v, %v", info, err)
		}
		outputs, err := c.QueryDerivationOutputMap(ctx, depDrv)
		if err != nil || len(outputs) != 2 || outputs["out"] != outPath(t, dep, "out") || outputs["dev"] != outPath(t, dep, "dev") {
			t.Errorf("outputs of dep: %v, %v", outputs, err)
		}
		checkInstallables(t, c, depDrv, outPath(t, dep, "dev"))
		if out := d.MustRun(t, "nix-store", "--query", "--outputs", string(topDrv)); strings.TrimSpace(out) != string(outPath(t, top, "out")) {
			t.Errorf("according to nix-store the output is %q", out)
		}
	})
}

// checkInstallables builds the same output by all its names, and plain paths.
func checkInstallables(t *testing.T, c *daemon.Conn, drv, out storepath.Path) {
	t.Helper()
	ctx := t.Context()
	for _, s := range []string{string(drv) + "^dev", string(drv) + "^dev,out", string(drv) + "^*", string(out), string(drv)} {
		p, err := derivation.ParseDerivedPath(storepath.DefaultDir, s)
		if err != nil {
			t.Fatal(err)
		}
		err = c.BuildPaths(ctx, []derivation.DerivedPath{p}, store.BuildNormal)
		if plainDrv := s == string(drv); plainDrv && c.Version() < protocol.MakeVersion(30) {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("the plain %s before 1.30: %v, want ErrUnsupported", s, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// The error of a failed build names the derivation and the reason, and its log is delivered.
// The connection stays usable.
func TestRealBuildFails(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		c := dialReal(t, d)
		drv := addDerivation(t, c, newDerivation("fails", "echo first line; echo last line >&2; exit 7"), nil)
		for range 2 {
			var lines []string
			builds := 0
			ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
				if line, ok := activity.Line(e); ok {
					lines = append(lines, line)
				}
				if start, ok := e.(activity.Start); ok && start.Type == activity.Build {
					builds++
				}
			}))
			err := c.BuildPaths(ctx, allOutputsOf(drv), store.BuildNormal)
			var failed *store.BuildError
			var said *activity.Error
			if !errors.As(err, &failed) || !errors.As(err, &said) {
				t.Fatalf("%v, want a BuildError", err)
			}
			if !strings.Contains(err.Error(), string(drv)) || !strings.Contains(err.Error(), "exit code 7") {
				t.Errorf("the error lacks the derivation or the reason: %v", err)
			}
			if log := strings.Join(lines, "\n"); !strings.Contains(log, "first line") || !strings.Contains(log, "last line") {
				t.Errorf("the log is %q", lines)
			}
			if builds != 1 {
				t.Errorf("%d builds were reported", builds)
			}
		}
		if valid, err := c.IsValidPath(t.Context(), drv); !valid || err != nil {
			t.Errorf("after the failure: %v, %v", valid, err)
		}
	})
}

// Cancelling a build returns at once, and the daemon stops it.
func TestRealBuildCancelled(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		c := dialReal(t, d)
		drv := addDerivation(t, c, newDerivation("sleeps", "echo started; sleep 1000; echo > $out"), nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
			if line, _ := activity.Line(e); strings.Contains(line, "started") {
				// Wait, since 2.34 misses a hang-up while it forwards a log line.
				time.AfterFunc(200*time.Millisecond, cancel)
			}
		}))
		if err := c.BuildPaths(ctx, allOutputsOf(drv), store.BuildNormal); !errors.Is(err, context.Canceled) {
			t.Fatalf("%v, want Canceled", err)
		}
		if err := c.Err(); err == nil {
			t.Error("the connection is not broken, so the daemon cannot notice")
		}
		for deadline := time.Now().Add(time.Minute); strings.Contains(running(t, d), "sleep 1000"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the build continues")
			}
		}
	})
}

// running returns the command lines of the other processes of the daemon.
func running(t *testing.T, d *realnix.Daemon) string {
	t.Helper()
	var all strings.Builder
	for _, pid := range d.Processes() {
		b, _ := os.ReadFile(path.Join("/proc", strconv.Itoa(pid), "cmdline"))
		all.WriteString(strings.ReplaceAll(string(b), "\x00", " ") + "\n")
	}
	return all.String()
}

// An untrusted user may not repair. If the daemon reports this in the handshake, the request is
// not sent. Otherwise the daemon refuses it before any work and hangs up.
func TestRealUntrusted(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, &realnix.Options{Untrusted: true})
		c := dialReal(t, d)
		drv := addDerivation(t, c, newDerivation("x", "echo > $out"), nil)
		err := c.BuildPaths(t.Context(), allOutputsOf(drv), store.BuildRepair)
		if c.Version() >= protocol.MakeVersion(35) {
			var untrusted *protocol.TrustError
			if c.Trust() != protocol.NotTrusted || !errors.As(err, &untrusted) {
				t.Errorf("%v by a daemon that reports the trust level %s", err, c.Trust())
			}
			if valid, err := c.IsValidPath(t.Context(), drv); !valid || err != nil {
				t.Errorf("afterwards: %v, %v", valid, err)
			}
			return
		}
		var said *activity.Error
		if !errors.As(err, &said) {
			t.Errorf("%v, want the daemon's error", err)
		}
		if _, err := c.IsValidPath(t.Context(), drv); !errors.Is(err, daemon.ErrConnLost) {
			t.Errorf("after a refusal before work: %v, want ErrConnLost", err)
		}
	})
}
