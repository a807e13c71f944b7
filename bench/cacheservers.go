package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"pix/internal/latency"
	"pix/storepath"
)

// A cacheServer is a running program that serves a store as a binary cache.
type cacheServer struct {
	name, address string
	process       *os.Process
}

func (s *cacheServer) url() string { return "http://" + s.address }

// processes returns the process and its children: nginx has workers.
func (s *cacheServer) processes() []int {
	all := []int{s.process.Pid}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.process.Pid)) // a process that has ended has none
	for _, word := range strings.Fields(string(text)) {
		var pid int
		if _, err := fmt.Sscan(word, &pid); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// measure measures work that the server does. The processor time is the one of the server.
func (s *cacheServer) measure(work func() error) (measure, error) {
	before := processorTime(s.processes())
	m, err := measureProcesses(s.processes, work)
	m.CPU = processorTime(s.processes()) - before
	return m, err
}

// startCacheServer starts a program that listens on an address, and waits until it does.
func startCacheServer(t *scope, name, address string, cmd *exec.Cmd) *cacheServer {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	t.check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // the messages say more than the status
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		nc, err := net.Dial("tcp", address)
		if err == nil {
			nc.Close()
			return &cacheServer{name, address, cmd.Process}
		}
		select {
		case <-ended:
			t.Fatalf("%s: %s", name, lastLine(stderr.String()))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %w", name, err)
		}
	}
}

// freeAddress returns an address on which no program listens.
func freeAddress(t *scope) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	t.check(err)
	defer l.Close()
	return l.Addr().String()
}

// servePix serves the store of a world by pix.
func (l *lab) servePix(t *scope, w *world, flags ...string) *cacheServer {
	address := freeAddress(t)
	args := append([]string{"serve", "--store", w.HostPath("/"), "--listen", address, "--grace", "0s"}, flags...)
	return startCacheServer(t, "pix", address, exec.Command(filepath.Join(l.bin, "pix"), args...))
}

// serveHarmonia serves the store of a world by harmonia, or returns nil without it.
func (l *lab) serveHarmonia(t *scope, w *world, compress bool) *cacheServer {
	if l.harmonia == "" {
		t.lacks("harmonia: no -harmonia FILE")
		return nil
	}
	address, config := freeAddress(t), filepath.Join(t.TempDir(), "harmonia.toml")
	text := fmt.Sprintf("bind = %q\nvirtual_nix_store = \"/nix/store\"\nreal_nix_store = %q\nnix_db_path = %q\nenable_compression = %t\nmax_connections = 25000\n",
		address, w.HostPath("/nix/store"), w.HostPath("/nix/var/nix/db/db.sqlite"), compress)
	t.check(os.WriteFile(config, []byte(text), 0o644))
	cmd := exec.Command(l.harmonia)
	cmd.Env = append(os.Environ(), "CONFIG_FILE="+config, "RUST_LOG=error")
	return startCacheServer(t, "harmonia", address, cmd)
}

// nginxConfig is the configuration for files without compression, as small as can be.
const nginxConfig = `daemon off;
user root;
worker_processes auto;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 4096; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 1000000000;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	scgi_temp_path %[1]s/scgi;
	uwsgi_temp_path %[1]s/uwsgi;
	server { listen %[2]s; root %[3]s; }
}
`

// serveNginx copies a closure to a cache in a directory, and serves that by nginx. It returns nil without nginx.
func (l *lab) serveNginx(t *scope, w *world, root string) *cacheServer {
	return l.serveNginxCache(t, w.HostPath(w.makeCache(t, "nginx", root, "none")))
}

// serveNginxCache serves a cache in a directory by nginx. It returns nil without nginx.
func (l *lab) serveNginxCache(t *scope, cache string) *cacheServer {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.lacks("nginx: %v", err)
		return nil
	}
	for dir := cache; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		t.check(os.Chmod(dir, 0o755))
	}
	address, dir := freeAddress(t), t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	t.check(os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, address, cache), 0o644))
	return startCacheServer(t, "nginx", address, exec.Command(nginx, "-p", dir, "-e", "stderr", "-c", config))
}

// present returns the servers that are there.
func present(servers ...*cacheServer) (all []*cacheServer) {
	for _, s := range servers {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// closurePaths returns the paths of the whole store.
func (s *bigStore) closurePaths(t *scope) []storepath.Path {
	var paths []storepath.Path
	for _, line := range lines(output(t, s.runPix("--store", "local", "closure", s.root))) {
		path, err := storepath.DefaultDir.Parse(line)
		t.check(err)
		paths = append(paths, path)
	}
	return paths
}

// clientCommand returns the work of clients in a process of its own, which prints how long it has taken.
func clientCommand(t *scope, c cacheClients) func() error {
	text, err := json.Marshal(c)
	t.check(err)
	file := filepath.Join(t.TempDir(), "clients.json")
	t.check(os.WriteFile(file, text, 0o644))
	return func() error {
		out, err := taskCommand("cache-clients", file).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, lastLine(string(out)))
		}
		return nil
	}
}

// requestNarInfosRow is about the rate of narinfos.
func requestNarInfosRow(l *lab, t *scope) work {
	const clients, passes = 16, 2
	s := l.store(10_000)
	var targets []string
	for _, path := range s.closurePaths(t) {
		targets = append(targets, "/"+path.HashPart()+".narinfo")
	}
	w := work{text: fmt.Sprintf("%s requests, %d clients", count(passes*len(targets)), clients)}
	for _, server := range present(l.servePix(t, s.world), l.serveHarmonia(t, s.world, false), l.serveNginx(t, s.world, s.root)) {
		do := clientCommand(t, cacheClients{Address: server.address, Busy: []clientGroup{{Clients: clients, Passes: passes, Targets: targets}}})
		w.contenders = append(w.contenders, contender{server.name, func(int) (measure, error) { return server.measure(do) }})
	}
	return w
}

// archiveTarget returns the target of the archive of a path on a server.
func archiveTarget(t *scope, server *cacheServer, path string) string {
	parsed, err := storepath.DefaultDir.Parse(path)
	t.check(err)
	response, err := http.Get(server.url() + "/" + parsed.HashPart() + ".narinfo")
	t.check(err)
	defer response.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(response.Body)
	t.check(err)
	for _, line := range lines(text.String()) {
		if url, ok := strings.CutPrefix(line, "URL: "); ok {
			return "/" + url
		}
	}
	t.Fatalf("%s: the narinfo of '%s' has no URL: %s", server.name, path, text.String())
	return ""
}

// requestArchiveRow is about the time of a large archive without compression.
func requestArchiveRow(l *lab, t *scope) work {
	size := l.size(300, 1000)
	world, path := l.sharedWorld(), l.largePath(size).path
	w := work{text: fmt.Sprint(size, " MB")}
	for _, server := range present(l.servePix(t, world), l.serveHarmonia(t, world, false), l.serveNginx(t, world, path)) {
		group := clientGroup{Clients: 1, Passes: 3, Targets: []string{archiveTarget(t, server, path)}}
		do := clientCommand(t, cacheClients{Address: server.address, Busy: []clientGroup{group}})
		w.contenders = append(w.contenders, contender{server.name, func(int) (measure, error) { return server.measure(do) }})
	}
	return w
}

// fetchRow is about small paths that Nix fetches. The server has one processor and the client another one, because they are usually on
// different machines.
func fetchRow(l *lab, t *scope) work {
	s := l.store(10_000)
	w := work{text: count(s.n) + " paths, a processor each"}
	cache := s.world.HostPath(s.world.makeCache(t, "nginx", s.root, "none"))
	var servers []*cacheServer
	t.check(onProcessor(0, func() {
		servers = present(l.servePix(t, s.world), l.serveNginxCache(t, cache), l.serveHarmonia(t, s.world, false), l.servePrepared(t, cache))
	}))
	for _, server := range servers {
		c := s.writer(server.name, "fetched", func(dir string) *exec.Cmd { return s.runNix(copyFrom("nix", server.url(), dir, s.root)...) })
		w.contenders = append(w.contenders, contender{c.name, func(round int) (m measure, err error) {
			before := processorTime(server.processes())
			pinned := onProcessor(1, func() { m, err = c.run(round) })
			m.CPU += processorTime(server.processes()) - before
			return m, cmp.Or(pinned, err)
		}})
	}
	return w
}

// copyFrom returns the arguments of a copy by a program, or by pix if it is "". No answer of the cache is remembered between rounds.
func copyFrom(program, url, dir, root string) []string {
	var args []string
	if program != "" {
		args = append(args, program)
	}
	return append(args, "--option", "narinfo-cache-positive-ttl", "0", "copy", "--no-check-sigs", "--from", url, "--to", dir, root)
}

// slowCopyRow is about small paths that pix and Nix fetch from pix over a slow connection.
func slowCopyRow(l *lab, t *scope) work {
	s := l.store(10_000)
	url := "http://" + relay(t, l.servePix(t, s.world).address)
	return work{count(s.n) + " paths", []contender{
		s.writer("pix", "slow-copy", func(dir string) *exec.Cmd { return s.runPix(copyFrom("", url, dir, s.root)...) }),
		s.writer("Nix", "slow-copy", func(dir string) *exec.Cmd { return s.runNix(copyFrom("nix", url, dir, s.root)...) }),
	}}
}

// slowPushRow is about small paths that pix and Nix push to pix over a slow connection. Each round has an empty store.
func slowPushRow(l *lab, t *scope) work {
	s := l.store(smallPaths)
	const token = "0123456789abcdef"
	tokens := filepath.Join(t.TempDir(), "tokens")
	t.check(os.WriteFile(tokens, []byte(token+"\n"), 0o600))
	push := func(name string, command func(url string) *exec.Cmd) contender {
		return contender{name, func(int) (m measure, err error) {
			round := newScope()
			defer round.cleanUp()
			failed := round.try(func() {
				address := freeAddress(round)
				args := []string{"serve", "--store", filepath.Join(round.TempDir(), "store"), "--trusted-token-file", tokens, "--listen", address, "--grace", "0s"}
				startCacheServer(round, "pix", address, exec.Command(filepath.Join(l.bin, "pix"), args...))
				m, err = measureCommand(command("http://any:" + token + "@" + relay(round, address) + "?compression=zstd"))
			})
			return m, cmp.Or(failed, err)
		}}
	}
	return work{count(s.n) + " paths", []contender{
		push("pix", func(url string) *exec.Cmd {
			return s.runPix("copy", "--no-check-sigs", "--from", "local", "--to", url, s.root)
		}),
		push("Nix", func(url string) *exec.Cmd { return s.runNix("nix", "copy", "--no-check-sigs", "--to", url, s.root) }),
	}}
}

// relay listens on an address that it returns, and connects each client to a server. Each byte is delayed by half of the round trip time.
func relay(t *scope, server string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	t.check(err)
	t.Cleanup(func() { l.Close() })
	go latency.Relay(l, server, trip/2)
	return l.Addr().String()
}

// manyClientsRow is about the memory that clients need: most are idle, and half of the others ask for compression.
func manyClientsRow(l *lab, t *scope) work {
	const idle, busy = 1000, 200
	world := l.newWorld(t)
	var small []string
	for i := range 20 {
		name := fmt.Sprint("/tmp/small-", i)
		t.check(fillFile(world.HostPath(name), int64(900_000-i), world.Root+"/usr"))
		small = append(small, output(t, world.runPix("--store", "local", "add", name)))
	}
	t.check(fillFile(world.HostPath("/tmp/large"), 20e6, world.Root+"/usr"))
	large := output(t, world.runPix("--store", "local", "add", "/tmp/large"))
	w := work{text: fmt.Sprintf("%s idle, %d busy", count(idle), busy)}
	for _, server := range present(l.servePix(t, world, "--compress"), l.serveHarmonia(t, world, true)) {
		plain := clientGroup{Clients: busy / 2, Passes: 2, Targets: []string{archiveTarget(t, server, large)}}
		zstd := clientGroup{Clients: busy / 2, Passes: 1, Encoding: "zstd"}
		for _, path := range small {
			zstd.Targets = append(zstd.Targets, archiveTarget(t, server, path))
		}
		do := clientCommand(t, cacheClients{Address: server.address, Idle: idle, Busy: []clientGroup{plain, zstd}})
		w.contenders = append(w.contenders, contender{server.name, func(int) (measure, error) { return server.measure(do) }})
	}
	return w
}
