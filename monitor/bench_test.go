package monitor_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pix/daemon"
	"pix/internal/testenv"
	"pix/monitor"
	"pix/nixhash"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// roleVariable makes the test program run as another process: a client, or for a benchmark the daemon, a
// relay or a monitor.
const roleVariable = "PIX_MONITOR_ROLE"

func TestMain(m *testing.M) {
	monitor.Main()
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case "client":
		os.Exit(readAll(os.Args[1]))
	default:
		runRole(role, os.Args[1], os.Args[2])
	}
}

// clientRefused is the exit code of a client that cannot connect, or gets nothing.
const clientRefused = 3

// readAll prints what a socket sends.
func readAll(socket string) (code int) {
	nc, err := net.Dial("unix", socket)
	if err != nil {
		return clientRefused
	}
	defer nc.Close()
	if n, err := io.Copy(os.Stdout, nc); n == 0 || err != nil {
		return clientRefused
	}
	return 0
}

// runRole serves a socket. A relay and a monitor pass its connections on to another one.
func runRole(role, socket, behind string) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	switch role {
	case "daemon":
		s := memstore.New(nil)
		if _, err := store.AddText(context.Background(), s, "text", "a text", nil); err != nil {
			panic(err)
		}
		server.Accept(context.Background(), l, func(ctx context.Context, nc net.Conn) { server.Serve(ctx, nc, s, nil) })
	case "relay":
		relayOnly(l, behind)
	case "monitor":
		m := &monitor.Monitor{Dial: monitor.DialUnix(behind), Handle: func(e *monitor.Event) { io.WriteString(io.Discard, e.String()) }}
		m.Serve(context.Background(), l)
	}
}

// relayOnly copies bytes and does nothing else.
func relayOnly(l net.Listener, behind string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		daemon, err := net.Dial("unix", behind)
		if err != nil {
			panic(err)
		}
		copyAll := func(dst, src net.Conn) {
			defer dst.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := src.Read(buf)
				if err != nil {
					return
				}
				if _, err := dst.Write(buf[:n]); err != nil {
					return
				}
			}
		}
		go copyAll(daemon, client)
		go copyAll(client, daemon)
	}
}

// startRole starts a process of the benchmark.
func startRole(b *testing.B, role, socket, behind string) {
	b.Helper()
	cmd := exec.Command(os.Args[0], socket, behind)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if nc, err := net.Dial("unix", socket); err == nil {
			nc.Close()
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("the %s does not listen", role)
		}
	}
}

// BenchmarkOverhead compares a daemon with the same daemon behind a relay, and behind a monitor. All are processes of their
// own. Each round measures all three, one after the other. The metrics are ratios of medians.
func BenchmarkOverhead(b *testing.B) {
	dir := testenv.SocketDir(b)
	sockets := []string{filepath.Join(dir, "daemon"), filepath.Join(dir, "relay"), filepath.Join(dir, "monitor")}
	for i, role := range []string{"daemon", "relay", "monitor"} {
		startRole(b, role, sockets[i], sockets[0])
	}
	path, err := storepath.DefaultDir.TextPath("text", nixhash.Sum(nixhash.SHA256, []byte("a text")), nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		clients int
		ask     func(b *testing.B, c *daemon.Conn)
	}{
		{"lone", 1, func(b *testing.B, c *daemon.Conn) { askAlone(b, c, path, 500) }},
		{"pipelined", 1, func(b *testing.B, c *daemon.Conn) { askPipelined(b, c, path, 5000) }},
		{"clients", 16, func(b *testing.B, c *daemon.Conn) { askAlone(b, c, path, 100) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			conns := make([][]*daemon.Conn, len(sockets))
			for i, socket := range sockets {
				for range c.clients {
					conn, err := daemon.Dial(b.Context(), socket, nil)
					if err != nil {
						b.Fatal(err)
					}
					defer conn.Close()
					conns[i] = append(conns[i], conn)
				}
			}
			times := make([][]time.Duration, len(sockets))
			for b.Loop() {
				for i := range sockets {
					start := time.Now()
					var wg sync.WaitGroup
					for _, conn := range conns[i] {
						wg.Go(func() { c.ask(b, conn) })
					}
					wg.Wait()
					times[i] = append(times[i], time.Since(start))
				}
			}
			median := func(i int) float64 {
				slices.Sort(times[i])
				return float64(times[i][len(times[i])/2])
			}
			b.ReportMetric(median(2)/median(1), "×relay")
			b.ReportMetric(median(2)/median(0), "×direct")
			b.ReportMetric(median(1)/median(0), "relay×direct")
		})
	}
}

func askAlone(b *testing.B, c *daemon.Conn, path storepath.Path, n int) {
	for range n {
		if _, err := c.QueryPathInfo(b.Context(), path); err != nil {
			b.Error(err)
			return
		}
	}
}

func askPipelined(b *testing.B, c *daemon.Conn, path storepath.Path, n int) {
	for _, err := range c.QueryPathInfos(b.Context(), slices.Repeat([]storepath.Path{path}, n)) {
		if err != nil {
			b.Error(err)
			return
		}
	}
}
