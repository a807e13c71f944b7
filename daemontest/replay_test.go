package daemontest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/daemon"
	"pix/daemontest"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// Replay recorded traces of real daemons, without Nix: a client makes the same requests and
// gets the same replies.
func TestReplayRecorded(t *testing.T) {
	replayed := 0
	for _, s := range scenarios {
		files, err := filepath.Glob(filepath.Join("testdata", "replay", "*-"+s.name+".trace"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			replayed++
			t.Run(filepath.Base(file), func(t *testing.T) {
				trace, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				answers, err := os.ReadFile(strings.TrimSuffix(file, ".trace") + ".answers")
				if err != nil {
					t.Fatal(err)
				}
				s.replay(t, string(trace), strings.Split(strings.TrimSuffix(string(answers), "\n"), "\n"))
			})
		}
	}
	if want := len(scenarios) * len(recorded); replayed != want {
		t.Errorf("%d traces were replayed, want %d", replayed, want)
	}
}

// All operations of a client can be replayed, in every version.
func TestReplayEverything(t *testing.T) {
	for minor := uint8(18); minor <= 38; minor++ {
		t.Run(fmt.Sprintf("1.%d", minor), func(t *testing.T) {
			t.Parallel()
			d := daemontest.New(t, &daemontest.Options{Version: protocol.MakeVersion(minor), NoFeatures: minor%2 == 0})
			run := func(transport daemon.Transport) (map[string]string, string) {
				var trace bytes.Buffer
				conn, err := daemon.DialTransport(t.Context(), transport, &daemon.Options{Trace: &trace, TraceBody: -1})
				if err != nil {
					t.Fatal(err)
				}
				answers := everything(t, conn)
				conn.Close()
				return answers, trace.String()
			}
			want, trace := run(d)
			got, again := run(daemontest.Replay(t, strings.NewReader(trace), nil))
			compare(t, got, want)
			sameConversations(t, again, trace, true)
		})
	}
}

const helloText = "hello world, hello to all of you, you who are many"

func addHelloText(ctx context.Context, p *daemon.Pool) {
	p.AddTextToStore(ctx, "hello", helloText, nil)
	p.IsValidPath(ctx, somePath)
}

// A difference to the trace fails the test with the position.
func TestReplayDiffers(t *testing.T) {
	trace := recordMemory(t, nil, addHelloText)
	old := recordMemory(t, &daemontest.Options{Version: protocol.MakeVersion(21)}, func(ctx context.Context, p *daemon.Pool) {
		info, archive := object("object")
		p.AddToStoreNAR(ctx, info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true})
	})
	plain := recordMemory(t, &daemontest.Options{Version: protocol.MakeVersion(20)}, func(ctx context.Context, p *daemon.Pool) {
		p.AddToStore(ctx, "source", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(fileNAR("a source")), nil)
	})
	upload := func(name string) func(ctx context.Context, p *daemon.Pool) {
		return func(ctx context.Context, p *daemon.Pool) {
			info, _ := object("object")
			p.AddToStoreNAR(ctx, info, bytes.NewReader(fileNAR(name)), &store.AddOptions{NoSignatures: true})
		}
	}
	for _, c := range []struct {
		name  string
		trace string
		opts  *daemontest.ReplayOptions
		use   func(ctx context.Context, p *daemon.Pool)
		want  []string // parts of the errors
	}{
		{"the same", trace, nil, addHelloText, nil},
		{"another request", trace, nil, func(ctx context.Context, p *daemon.Pool) {
			p.AddTextToStore(ctx, "hallo", helloText, nil)
		}, []string{
			"request 1 of connection 1 is not the recorded one (line 3 of the trace):",
			"\n  got  AddToStore name=hallo method", "\n  want AddToStore name=hello method", "they differ from column 18 on",
		}},
		{"less", trace, nil, func(ctx context.Context, p *daemon.Pool) {
			p.AddTextToStore(ctx, "hello", helloText, nil)
		}, []string{"request 2 of connection 1 was not made, nor the 0 after it:\n  want IsValidPath path=" + string(somePath)}},
		{"less, and that is allowed", trace, &daemontest.ReplayOptions{Partial: true}, func(ctx context.Context, p *daemon.Pool) {
			p.AddTextToStore(ctx, "hello", helloText, nil)
		}, nil},
		{"nothing", trace, nil, func(ctx context.Context, p *daemon.Pool) {}, []string{"request 1 of connection 1 was not made, nor the 1 after it"}},
		{"more", trace, nil, func(ctx context.Context, p *daemon.Pool) {
			addHelloText(ctx, p)
			p.IsValidPath(ctx, somePath)
		}, []string{"connection 1 of the trace has only 2 requests, but another one came:\n  got  IsValidPath path=" + string(somePath)}},
		{"one more connection", trace, nil, func(ctx context.Context, p *daemon.Pool) {
			addHelloText(ctx, p)
			if _, err := p.Session(ctx); err == nil {
				panic("a connection that was not recorded")
			}
		}, []string{"the trace has only 1 connections, but another one was opened"}},
		{"another body", trace, nil, func(ctx context.Context, p *daemon.Pool) {
			p.AddToStore(ctx, "hello", storepath.Text, nixhash.SHA256, nil, strings.NewReader("hello wOrld"+helloText[11:]), nil)
		}, []string{"what follows request 1 of connection 1 is not as recorded from byte 7 on (line 4 of the trace)", `want body data="orld, hello`}},
		{"a shorter body", trace, nil, func(ctx context.Context, p *daemon.Pool) {
			p.AddToStore(ctx, "hello", storepath.Text, nixhash.SHA256, nil, strings.NewReader(helloText[:11]), nil)
		}, []string{"what follows request 1 of connection 1 is not as recorded from byte 11 on", `got  body data=""`}},
		{"a longer body", trace, nil, func(ctx context.Context, p *daemon.Pool) {
			p.AddToStore(ctx, "hello", storepath.Text, nixhash.SHA256, nil, strings.NewReader(helloText+"!"), nil)
		}, []string{"what follows request 1 of connection 1 (line 3 of the trace) goes on after the 50 bytes that were recorded", `got  body data=!`}},
		{"an archive that is asked for", old, nil, upload("object"), nil},
		{"another archive that is asked for", old, nil, upload("OBJECT"), []string{"not as recorded from byte 96 on"}},
		{"another archive", plain, nil, func(ctx context.Context, p *daemon.Pool) {
			p.AddToStore(ctx, "source", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(fileNAR("a Source")), nil)
		}, []string{"not as recorded from byte 98 on"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := replayMemory(t, c.trace, c.opts, c.use)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("the test reports\n%s\ninstead of\n%s\nof\n%s", got, want, c.trace)
				}
			}
			if c.want == nil && got != "" {
				t.Errorf("the test reports\n%s\nof\n%s", got, c.trace)
			}
		})
	}
}

// The client gets the error, too.
func TestReplayTellsClient(t *testing.T) {
	trace := recordMemory(t, nil, addHelloText)
	replayMemory(t, trace, nil, func(ctx context.Context, p *daemon.Pool) {
		_, err := p.IsValidPath(ctx, somePath)
		if err == nil || !strings.Contains(err.Error(), "replaying a trace: request 1 of connection 1 is not the recorded one") {
			t.Error(err)
		}
	})
}

// Connections may come in another order than the recorded one.
func TestReplayAnyOrder(t *testing.T) {
	var failed error
	session := func(ctx context.Context, p *daemon.Pool, n int) func() {
		s, err := p.Session(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c := s.(*daemon.Session)
		for i := range 3 { // the same except for the last request
			path, err := c.AddTextToStore(ctx, fmt.Sprint("text-", n*(i/2)), "", nil)
			if err != nil {
				failed = err
				break
			}
			if valid, err := c.IsValidPath(ctx, path); err != nil || !valid {
				t.Error(valid, err)
			}
		}
		return func() { c.Close() }
	}
	use := func(order ...int) func(ctx context.Context, p *daemon.Pool) {
		return func(ctx context.Context, p *daemon.Pool) {
			for _, n := range order {
				defer session(ctx, p, n)()
			}
		}
	}
	trace := recordMemory(t, nil, use(1, 2, 3, 4))
	for _, order := range [][]int{{1, 2, 3, 4}, {4, 3, 2, 1}, {3, 1, 4, 2}} {
		if said := replayMemory(t, trace, nil, use(order...)); said != "" || failed != nil {
			t.Errorf("%v: %s, %v", order, said, failed)
		}
	}
	if said := replayMemory(t, trace, nil, use(1, 2, 2)); !strings.Contains(said, "is not the recorded one") || failed == nil {
		t.Errorf("%q, %v", said, failed)
	}
}

// Queries that were recorded in batches are answered in other batches, too.
func TestReplayPipelined(t *testing.T) {
	paths := make([]storepath.Path, 3000)
	use := func(ctx context.Context, p *daemon.Pool) {
		n := 0
		for _, err := range p.QueryPathInfos(ctx, paths) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != len(paths) {
			t.Errorf("%d answers", n)
		}
	}
	trace := recordMemory(t, nil, func(ctx context.Context, p *daemon.Pool) {
		path, err := p.AddTextToStore(ctx, "text", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range paths {
			paths[i] = path
		}
		use(ctx, p)
	})
	for _, window := range []int{0, 1, 7} {
		p, err := daemon.Open(t.Context(), daemontest.Replay(t, strings.NewReader(trace), nil), &daemon.Options{Window: window})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.AddTextToStore(t.Context(), "text", "", nil); err != nil {
			t.Fatal(err)
		}
		use(t.Context(), p)
		p.Close()
	}
}

// A daemon that fails in the middle of an archive sends its error in the stream. The trace has
// it as a message, however the stream was read.
func TestReplayErrorInArchive(t *testing.T) {
	const trace = `
15:04:05.000000 1 ← greeting version=1.38 negotiated=1.38 features=[] store-dir=/nix/store nix=2.34.8 trust=trusted
15:04:05.000000 1 ← Last
15:04:05.000000 1 → QueryPathInfo path=` + string(somePath) + `
15:04:05.000000 1 ← Last
15:04:05.000000 1 ← QueryPathInfo valid=true deriver="" NAR-hash=3ebb9103e8c05f7c65acc969989c62834bc98bfce6a41320768600099489295d references=[] registration-time=1 NAR-size=120 ultimate=false signatures=[] content-address=""
15:04:05.000000 1 → NarFromPath path=` + string(somePath) + `
15:04:05.000000 1 ← Last
15:04:05.000000 1 ← NarFromPath
15:04:05.000000 1 ← body data="\r\x00\x00\x00\x00\x00\x00\x00nix-archive-1\x00\x00\x00"
15:04:05.000000 1 ← Error level=error message="it is gone" traces=[]
15:04:05.000000 1 × closed by=daemon why="the daemon hung up after saying: it is gone"
`
	for _, size := range []int{1, 3, 8, 11, 4096} {
		var again bytes.Buffer
		conn, err := daemon.DialTransport(t.Context(), daemontest.Replay(t, strings.NewReader(trace), nil), &daemon.Options{Trace: &again, TraceBody: -1})
		if err != nil {
			t.Fatal(err)
		}
		r, err := conn.NARFromPath(t.Context(), somePath)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, size))
		var said *activity.Error
		if !errors.As(err, &said) || said.Message != "it is gone" {
			t.Errorf("%d bytes at a time: %v", size, err)
		}
		r.Close()
		conn.Close()
		sameConversations(t, again.String(), trace[1:], true)
	}
}

// A daemon that hangs up in a handshake, in a reply or in an archive does so again in the
// replay.
func TestReplayFaults(t *testing.T) {
	for _, faults := range []daemontest.Faults{
		{CutAfter: 16}, {CutAfter: 100}, {CutAfter: 200}, {CutAfter: 400}, {CutAfter: 500}, {CutAfter: 700},
		{CutAfter: 608}, {CutAfter: 612}, // in the length of the contents
		{Fail: func(n int, _ protocol.Request) error { return errors.New("it will not") }},
		{Logs: 3, LogSize: 5},
	} {
		use := func(transport daemon.Transport, trace *bytes.Buffer) (lines []string) {
			conn, err := daemon.DialTransport(t.Context(), transport, &daemon.Options{Trace: trace, TraceBody: -1})
			lines = append(lines, fmt.Sprint(err))
			if err != nil {
				return lines
			}
			defer conn.Close()
			path, err := conn.AddTextToStore(t.Context(), "text", helloText, nil)
			lines = append(lines, fmt.Sprint(path, err))
			r, err := conn.NARFromPath(t.Context(), path)
			lines = append(lines, fmt.Sprint(err))
			if err == nil {
				var b bytes.Buffer
				_, err := b.ReadFrom(r)
				lines = append(lines, fmt.Sprintf("%q, %v", b.Bytes(), err))
				r.Close()
			}
			return lines
		}
		var trace, again bytes.Buffer
		d := daemontest.New(t, &daemontest.Options{Faults: faults})
		want := use(d, &trace)
		d.Close()
		got := use(daemontest.Replay(t, bytes.NewReader(trace.Bytes()), nil), &again)
		if !slices.Equal(got, want) {
			t.Errorf("%+v:\n%s\ninstead of\n%s\nfrom\n%s", faults, strings.Join(got, "\n"), strings.Join(want, "\n"), trace.String())
		}
	}
}
