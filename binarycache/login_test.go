package binarycache_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pix/activity"
	"pix/binarycache"
	"pix/internal/realnix"
	"pix/storepath"
)

// A loginCase is a netrc file, the URL of a cache, the URLs to which its servers redirect, and the login
// that each request must have.
type loginCase struct {
	name, netrc string
	urls        []string // "" is a redirect within the same server
	want        []string // "user:password", or "-"
	curl        []string // the logins of curl, if pix deviates; nil if they are the same
	recent      bool     // curl behaves like this since 8.22
}

const (
	anA  = "machine a.test login u password p\n"
	aB   = "machine b.test login v password q\n"
	urlA = "http://a.test/"
	urlB = "http://b.test/"
)

// parsed returns cases of one request to a.test.
func parsed(name, netrc, want string) loginCase {
	return loginCase{name: name, netrc: netrc, urls: []string{urlA}, want: []string{want}}
}

// parsedRecently returns cases that old versions of curl parse differently.
func parsedRecently(name, netrc, want string) loginCase {
	c := parsed(name, netrc, want)
	c.recent = true
	return c
}

// at returns cases of one request to a URL.
func at(name, netrc, url, want string) loginCase {
	return loginCase{name: name, netrc: netrc, urls: []string{url}, want: []string{want}}
}

// redirected returns cases of several requests.
func redirected(name, netrc string, urls []string, want ...string) loginCase {
	return loginCase{name: name, netrc: netrc, urls: urls, want: want}
}

// deviating returns cases in which curl sends a login that it should not send.
func deviating(name, netrc string, urls, curl []string, want ...string) loginCase {
	return loginCase{name: name, netrc: netrc, urls: urls, curl: curl, want: want}
}

func recent(c loginCase) loginCase {
	c.recent = true
	return c
}

var loginCases = []loginCase{
	// The words of a file.
	parsed("nothing", "", "-"),
	parsed("plain", anA, "u:p"),
	parsed("keywords in capitals", "MACHINE a.test LOGIN u PassWord p", "u:p"),
	parsed("host in capitals", "machine A.Test login u password p", "u:p"),
	parsed("host with a dot", "machine a.test. login u password p", "-"),
	parsed("host with a port", "machine a.test:80 login u password p", "-"),
	parsed("host in quotes", `machine "a.test" login u password p`, "u:p"),
	parsed("empty host", `machine "" login u password p`, "-"),
	parsed("quotes", `machine a.test login "u x" password "p \"q\" \\ \n \t \r \z#"`, "u x:p \"q\" \\ \n \t \r z#"),
	parsed("quotes within", `machine a.test login u"x" password p"q`, `u"x":p"q`),
	parsed("backslashes without quotes", `machine a.test login u password p\nq\\`, `u:p\nq\\`),
	parsedRecently("nothing after a quote", `machine a.test login "u"password "p"`, "u:p"),
	parsedRecently("keyword in quotes", `"machine" a.test login u password p`, "-"),
	parsed("open quote after", anA+`machine b.test login x password "p`, "u:p"),
	parsedRecently("open quote", `machine a.test login u password "p`, "-"),
	parsedRecently("open quote before", `machine b.test login x password "p`+"\n"+anA, "-"),
	parsedRecently("lines", "machine\na.test\nlogin\nu\r\npassword\n\n\tp\r\n", "u:p"),
	parsed("comments", "# machine a.test login x password y\n \t#machine a.test login x password y\nmachine a.test\n# c\nlogin u\n#password no\npassword p # c\n", "u:p"),
	parsedRecently("no comment", "machine a.test login u password #p", "u:#p"),
	parsed("account", "machine a.test account x login u password p", "u:p"),
	parsedRecently("account that is a keyword", "machine a.test account password login u password p", "u:p"),
	parsed("login that is a keyword", "machine a.test login password password login", "password:login"),
	parsed("unknown words", "machine a.test junk login u foo password p", "u:p"),
	parsed("before a machine", "login x password y machine a.test login u password p", "u:p"),
	parsed("no machine", "login u password p", "-"),
	parsed("missing value", "machine a.test login u password", "u:"),
	parsed("missing machine", anA+"machine", "u:p"),
	parsed("macro", "macdef m\nmachine a.test login x password y\n\n"+anA, "u:p"),
	parsed("macro to the end", "macdef m\n"+anA, "-"),
	parsedRecently("macro and an empty line with space", "macdef m\nmachine a.test login x password y\n \t\n"+anA, "u:p"),
	parsedRecently("macro with CRLF", "macdef m\r\nmachine a.test login x password y\r\n\r\n"+anA, "u:p"),
	parsed("macro after an entry", "machine a.test login u password p macdef m\nfoo\n", "u:p"),
	parsedRecently("macro in an entry", "machine a.test login u macdef m\nfoo\n\npassword p\n", "u:"),
	parsed("password that is a keyword", "machine a.test login u password macdef\nmachine a.test login x password y\n", "u:macdef"),
	parsed("colon", "machine a.test login u:x password p", "u:x:p"),
	parsed("not ASCII", "machine a.test login ü password é", "ü:é"),

	// The choice of the entry.
	parsed("two entries", anA+"machine a.test login v password q", "u:p"),
	parsed("empty entry", "machine a.test machine a.test login v password q", "v:q"),
	parsedRecently("entry without a password", "machine a.test login u machine a.test login v password q", "u:"),
	parsed("login alone", "machine a.test login u", "u:"),
	parsed("password alone", "machine a.test password p", ":p"),
	parsed("empty password", `machine a.test login u password ""`, "u:"),
	parsed("login twice", "machine a.test login u login v password p", "v:p"),
	parsedRecently("password twice", "machine a.test login u password p password q", "u:q"),
	parsed("password first", "machine a.test password p login u", "u:p"),
	parsed("default", "default login u password p", "u:p"),
	parsed("default before", "default login u password p\nmachine a.test login v password q", "u:p"),
	parsed("default after", anA+"default login v password q", "u:p"),
	parsed("empty default", "default", "-"),
	parsed("empty entry and default", "machine a.test default login v password q", "v:q"),

	// With a login in the URL.
	at("URL in capitals", anA, "http://A.TEST/", "u:p"),
	at("user", anA, "http://u@a.test/", "u:p"),
	recent(at("other user", anA, "http://v@a.test/", "v:")),
	recent(at("user in capitals", anA, "http://U@a.test/", "U:")),
	at("second user", anA+"machine a.test login v password q", "http://v@a.test/", "v:q"),
	at("user of default", "default login u password p", "http://u@a.test/", "u:p"),
	recent(at("other user of default", "default login u password p", "http://v@a.test/", "v:")),
	at("password for any user", "machine a.test password p", "http://u@a.test/", "u:p"),
	at("escaped user", "machine a.test login u@x password p", "http://u%40x@a.test/", "u@x:p"),
	at("user and password", anA, "http://u:x@a.test/", "u:x"),
	recent(at("user and an empty password", anA, "http://u:@a.test/", "u:p")),
	recent(at("password in the URL alone", anA, "http://:x@a.test/", "u:p")),
	recent(at("nothing before the @", anA, "http://@a.test/", "u:p")),
	recent(at("nothing at all before the @", "", "http://@a.test/", "-")),
	at("user without an entry", "", "http://u@a.test/", "u:"),
	at("IPv6", "machine ::1 login u password p", "http://[::1]/", "u:p"),
	at("IPv6 in brackets", "machine [::1] login u password p", "http://[::1]/", "-"),
	at("port", anA, "http://a.test:8080/", "u:p"),
	at("HTTPS", anA, "https://a.test/", "u:p"),
	at("HTTPS and default", "default login u password p", "https://a.test/", "u:p"),

	// Redirects: each request has the login for its own URL and host.
	redirected("other host", anA, []string{urlA, urlB}, "u:p", "-"),
	redirected("other host with an entry", anA+aB, []string{urlA, urlB}, "u:p", "v:q"),
	redirected("subdomain", anA, []string{urlA, "http://sub.a.test/"}, "u:p", "-"),
	redirected("parent domain", "machine sub.a.test login u password p", []string{"http://sub.a.test/", urlA}, "u:p", "-"),
	redirected("other port", anA, []string{urlA, "http://a.test:8080/"}, "u:p", "u:p"),
	redirected("to HTTPS", anA, []string{urlA, "https://a.test/"}, "u:p", "u:p"),
	redirected("same host", anA, []string{urlA, urlA, ""}, "u:p", "u:p", "u:p"),
	redirected("same host by default", "default login u password p", []string{urlA, urlA, "", "http://A.test:80/"}, "u:p", "u:p", "u:p", "u:p"),
	redirected("there and back", anA+aB, []string{urlA, urlB, urlA}, "u:p", "v:q", "u:p"),
	redirected("there and back without an entry", anA, []string{urlA, urlB, "", urlA}, "u:p", "-", "-", "u:p"),
	redirected("URL to another host", "", []string{"http://u:p@a.test/", urlB}, "u:p", "-"),
	redirected("URL to another host with an entry", aB, []string{"http://u:p@a.test/", urlB}, "u:p", "v:q"),
	redirected("URL to another port", "", []string{"http://u:p@a.test/", "http://a.test:8080/"}, "u:p", "-"),
	redirected("URL to another port with an entry", anA, []string{"http://w:x@a.test/", "http://a.test:8080/"}, "w:x", "u:p"),
	redirected("URL to a subdomain", "", []string{"http://u:p@a.test/", "http://sub.a.test/"}, "u:p", "-"),
	redirected("URL to HTTPS", "", []string{"http://u:p@a.test/", "https://a.test/"}, "u:p", "-"),
	redirected("URL within a server", "", []string{"http://u:p@a.test/", "", ""}, "u:p", "u:p", "u:p"),
	recent(redirected("URL to the same host", "", []string{"http://u:p@a.test/", urlA}, "u:p", "-")),
	recent(redirected("URL there and back", "", []string{"http://u:p@a.test/", urlB, urlA}, "u:p", "-", "-")),
	redirected("user to another host", anA+aB, []string{"http://u@a.test/", urlB}, "u:p", "v:q"),
	recent(redirected("to a URL with a login", aB, []string{urlA, "http://z:w@b.test/"}, "-", "z:w")),
	redirected("to a URL with a user", aB, []string{urlA, "http://v@b.test/"}, "-", "v:q"),
	recent(redirected("to a URL with another user", aB, []string{urlA, "http://z@b.test/"}, "-", "z:")),
	recent(redirected("to a URL with a login, and on", "", []string{urlA, "http://z:w@b.test/", urlA}, "-", "z:w", "-")),

	// Redirects after which curl sends a login that is not meant for the host.
	deviating("default to another host", "default login u password p", []string{urlA, urlB}, []string{"u:p", "u:p"}, "u:p", "-"),
	deviating("default after an entry", anA+"default login d password e", []string{urlA, urlB}, []string{"u:p", "d:e"}, "u:p", "-"),
	deviating("default to another port", "default login u password p", []string{urlA, "http://a.test:8080/"}, []string{"u:p", "u:p"}, "u:p", "-"),
	deviating("default to HTTPS", "default login u password p", []string{urlA, "https://a.test/"}, []string{"u:p", "u:p"}, "u:p", "-"),
	deviating("no password", anA+"machine b.test login v", []string{urlA, urlB}, []string{"u:p", "v:"}, "u:p", "-"),
	deviating("no login", anA+"machine b.test password q", []string{urlA, urlB}, []string{"u:p", ":q"}, "u:p", "-"),
	deviating("no login, for a user", anA+"machine b.test password q", []string{urlA, "http://v@b.test/"}, []string{"u:p", "v:q"}, "u:p", "v:"),
	redirected("empty entry for the other host", anA+"machine b.test", []string{urlA, urlB}, "u:p", "-"),
	redirected("empty default for the other host", anA+"default", []string{urlA, urlB}, "u:p", "-"),
	recent(deviating("incomplete entry and a complete one", anA+"machine b.test login x "+aB, []string{urlA, urlB}, []string{"u:p", "x:"}, "u:p", "v:q")),
	deviating("from HTTPS", anA, []string{"https://a.test/", urlA}, []string{"u:p", "u:p"}, "u:p", "-"),
	deviating("from HTTPS to another host", anA+aB, []string{"https://a.test/", urlB}, []string{"u:p", "v:q"}, "u:p", "-"),
	recent(deviating("from HTTPS to a URL with a login", "", []string{"https://a.test/", "http://z:w@b.test/"}, []string{"-", "z:w"}, "-", "-")),
	deviating("HTTPS in between", anA+aB, []string{urlA, "https://b.test/", urlA, "", "https://a.test/"},
		[]string{"u:p", "v:q", "u:p", "u:p", "u:p"}, "u:p", "v:q", "-", "-", "u:p"),
}

// A loginServer redirects as a case says, by HTTP and HTTPS, under any host name.
type loginServer struct {
	plain, secure *httptest.Server

	mu     sync.Mutex
	urls   []string
	logins []string // of the requests
	leaks  []string // other headers that contain secrets
}

func newLoginServer(t *testing.T) *loginServer {
	s := new(loginServer)
	s.plain = httptest.NewServer(s)
	s.secure = httptest.NewTLSServer(s)
	t.Cleanup(s.plain.Close)
	t.Cleanup(s.secure.Close)
	return s
}

func (s *loginServer) start(urls []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.urls, s.logins, s.leaks = urls, nil, nil
}

func (s *loginServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	login := "-"
	if user, password, ok := r.BasicAuth(); ok {
		login = user + ":" + password
	}
	s.logins = append(s.logins, login)
	if referer := r.Header.Get("Referer"); referer != "" {
		s.leaks = append(s.leaks, referer)
	}
	step, _ := strconv.Atoi(filepath.Base(r.URL.Path)) // 0 for nix-cache-info
	if step++; step < len(s.urls) {
		to := fmt.Sprintf("step/%d", step)
		if s.urls[step] == "" {
			to = "/" + to
		}
		w.Header().Set("Location", s.urls[step]+to)
		w.WriteHeader(http.StatusFound)
		return
	}
	io.WriteString(w, "StoreDir: /nix/store\n")
}

// client returns a client that connects to this server for all hosts.
func (s *loginServer) client(t *testing.T) *http.Client {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasSuffix(addr, ":443") {
				return new(net.Dialer).DialContext(ctx, network, s.secure.Listener.Addr().String())
			}
			return new(net.Dialer).DialContext(ctx, network, s.plain.Listener.Addr().String())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestLogins(t *testing.T) {
	server := newLoginServer(t)
	client, file := server.client(t), filepath.Join(t.TempDir(), "netrc")
	for _, c := range loginCases {
		write(t, file, c.netrc)
		server.start(c.urls)
		s, err := binarycache.Open(t.Context(), c.urls[0], &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: client, Netrc: file, Tries: 1}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		s.Close()
		if !slices.Equal(server.logins, c.want) {
			t.Errorf("%s: sent %q, want %q", c.name, server.logins, c.want)
		}
		if len(server.leaks) > 0 {
			t.Errorf("%s: the Referer of a redirect was %q", c.name, server.leaks)
		}
	}
}

// curl, if it is installed, sends the same logins, or the ones in the case.
func TestLoginsOfCurl(t *testing.T) {
	text, err := exec.Command("curl", "--version").Output()
	if err != nil {
		t.Skip(err)
	}
	isRecent := isRecentCurl(t, string(text))
	server := newLoginServer(t)
	file := filepath.Join(t.TempDir(), "netrc")
	_, plain, _ := net.SplitHostPort(server.plain.Listener.Addr().String())
	_, secure, _ := net.SplitHostPort(server.secure.Listener.Addr().String())
	compared := 0
	for _, c := range loginCases {
		if c.recent && !isRecent {
			continue
		}
		write(t, file, c.netrc)
		server.start(c.urls)
		cmd := exec.CommandContext(t.Context(), "curl", "-q", "-sSgkL", "--noproxy", "*", "--netrc-optional", "--netrc-file", file,
			"--connect-to", ":80:127.0.0.1:"+plain, "--connect-to", ":8080:127.0.0.1:"+plain, "--connect-to", ":443:127.0.0.1:"+secure, c.urls[0]+"nix-cache-info")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, out)
			continue
		}
		compareLogins(t, c, server)
		compared++
	}
	t.Logf("%d cases compared with %s", compared, strings.SplitN(string(text), "\n", 2)[0])
}

// isRecentCurl reports whether a version of curl parses netrc files as the one of Nix 2.34 in Debian does.
func isRecentCurl(t *testing.T, version string) bool {
	t.Helper()
	match := regexp.MustCompile(`libcurl/(\d+)\.(\d+)`).FindStringSubmatch(version)
	if match == nil {
		t.Fatal(version)
	}
	major, _ := strconv.Atoi(match[1])
	minor, _ := strconv.Atoi(match[2])
	return major > 8 || major == 8 && minor >= 22
}

func compareLogins(t *testing.T, c loginCase, server *loginServer) {
	t.Helper()
	want := c.curl
	if want == nil {
		want = c.want
	}
	if !slices.Equal(server.logins, want) {
		t.Errorf("%s: curl sent %q, want %q", c.name, server.logins, want)
	}
}

// Nix, with its own libcurl, sends the same logins. It can reach two names of this machine.
func TestLoginsOfNix(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	server := newLoginServer(t)
	port := server.plain.Listener.Addr().(*net.TCPAddr).Port
	hosts := strings.NewReplacer("a.test", "127.0.0.1", "A.Test", "127.0.0.1", "b.test", "localhost")
	ports := strings.NewReplacer("a.test", fmt.Sprintf("127.0.0.1:%d", port), "b.test", fmt.Sprintf("localhost:%d", port))
	compared := 0
	for i, c := range loginCases {
		all := strings.Join(c.urls, " ")
		if strings.Contains(all, "https:") || strings.Contains(all, "sub.") || strings.Contains(all, ":80") || strings.Contains(all+c.netrc, "::1") || strings.Contains(all, "A.T") {
			continue
		}
		c.urls = slices.Clone(c.urls)
		for i := range c.urls {
			c.urls[i] = ports.Replace(c.urls[i])
		}
		write(t, d.HostPath("/tmp/netrc"), hosts.Replace(c.netrc))
		server.start(c.urls)
		// Nix does not download the same file again.
		_, stderr, err := d.Run("nix", "--store", "/tmp/store", "--option", "netrc-file", "/tmp/netrc", "--option", "download-attempts", "1",
			"store", "prefetch-file", fmt.Sprintf("%snix-cache-info?%d", c.urls[0], i))
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, stderr)
			continue
		}
		compareLogins(t, c, server)
		compared++
	}
	t.Logf("%d cases compared with Nix %s", compared, d.Version)
}

// The URL of an archive comes from the server, too.
func TestLoginsOfArchives(t *testing.T) {
	const all = anA + aB + "machine c.test login incomplete\ndefault login d password e\n"
	for _, c := range []struct{ base, ref, want string }{
		{"http://a.test/", "nar/x", "u:p"},
		{"http://a.test/", "http://a.test/nar/x", "u:p"},
		{"http://a.test/", "http://b.test/nar/x", "v:q"},
		{"http://a.test/", "//b.test/nar/x", "v:q"},
		{"http://a.test/", "https://b.test/nar/x", "v:q"},
		{"http://a.test/", "http://sub.a.test/nar/x", "-"},
		{"http://a.test/", "http://c.test/nar/x", "-"},
		{"http://a.test/", "http://d.test/nar/x", "-"},
		{"http://w:x@a.test/", "nar/x", "w:x"},
		{"http://w:x@a.test/", "http://a.test/nar/x", "u:p"},
		{"http://w:x@a.test/", "http://d.test/nar/x", "-"},
		{"https://a.test/", "http://b.test/nar/x", "-"},
		{"https://a.test/", "http://a.test/nar/x", "-"},
		{"https://a.test/", "http://z:w@a.test/nar/x", "-"},
		{"http://d.test/", "nar/x", "d:e"},
		{"http://d.test/", "http://d.test:80/nar/x", "d:e"},
		{"http://d.test/", "http://d.test:8080/nar/x", "-"},
	} {
		cache := newFake()
		n := cache.put(t, "x", "none", 100)
		archive := cache.files[n.URL]
		n.URL = c.ref
		cache.putNarInfo(t, n)
		got := "none came"
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/nar/") {
				cache.ServeHTTP(w, r)
				return
			}
			got = "-"
			if user, password, ok := r.BasicAuth(); ok {
				got = user + ":" + password
			}
			io.WriteString(w, archive)
		})
		server := &loginServer{plain: httptest.NewServer(handler), secure: httptest.NewTLSServer(handler)}
		file := filepath.Join(t.TempDir(), "netrc")
		write(t, file, all)
		s := open(t, c.base, &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: server.client(t), Netrc: file, Tries: 1}})
		if _, err := readAll(t.Context(), s, n.Path); err != nil || got != c.want {
			t.Errorf("from %s to %s: sent %q, want %q; %v", c.base, c.ref, got, c.want, err)
		}
		s.Close()
		server.plain.Close()
		server.secure.Close()
	}
}

// The store's own client behaves like a given one. It sends passwords only to the hosts for which they are
// meant.
func TestLoginsOfOwnClient(t *testing.T) {
	server := newLoginServer(t)
	base, elsewhere := server.plain.URL+"/", strings.Replace(server.plain.URL, "127.0.0.1", "localhost", 1)+"/"
	file := filepath.Join(t.TempDir(), "netrc")
	write(t, file, "machine 127.0.0.1 login u password p")
	server.start([]string{base, elsewhere, base})
	open(t, base, &binarycache.Options{HTTP: binarycache.HTTPOptions{Netrc: file}})
	if want := []string{"u:p", "-", "u:p"}; !slices.Equal(server.logins, want) {
		t.Errorf("sent %q, want %q", server.logins, want)
	}
}

// A caller's own client still decides whether a redirect is followed.
func TestCallersRedirects(t *testing.T) {
	server := newLoginServer(t)
	client := server.client(t)
	refused := errors.New("refused")
	client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if req.URL.Hostname() == "b.test" {
			return refused
		}
		return nil
	}
	opts := &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: client, Tries: 1}}
	server.start([]string{urlA, urlA})
	open(t, urlA, opts)
	server.start([]string{urlA, urlB})
	if _, err := binarycache.Open(t.Context(), urlA, opts); !errors.Is(err, refused) {
		t.Error(err)
	}
}

// warnings collects the messages that the handler of a context gets.
func warnings(ctx context.Context) (context.Context, *[]string) {
	list := new([]string)
	var mu sync.Mutex
	return activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
		mu.Lock()
		defer mu.Unlock()
		if log, ok := e.(activity.Log); ok {
			*list = append(*list, log.Text)
		}
	})), list
}

// A netrc file is read again when it has changed. One that cannot be read has no entries, and the caller gets one
// warning, which contains nothing from the file.
func TestNetrcChanges(t *testing.T) {
	server := newLoginServer(t)
	file := filepath.Join(t.TempDir(), "netrc")
	ctx, warned := warnings(t.Context())
	server.start([]string{urlA})
	s, err := binarycache.Open(ctx, urlA, &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: server.client(t), Netrc: file, Tries: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, step := range []struct {
		what        string
		change      func() error
		want, warns string
	}{
		{"no file", func() error { return nil }, "-", ""},
		{"a file", func() error { return os.WriteFile(file, []byte(anA), 0o600) }, "u:p", ""},
		{"other words", func() error { return os.WriteFile(file, []byte(anA+"# longer"), 0o600) }, "u:p", ""},
		{"another password", func() error { return os.WriteFile(file, []byte("machine a.test login u password new"), 0o600) }, "u:new", ""},
		{"an open quote", func() error {
			return os.WriteFile(file, []byte("# comment\n\nmachine a.test login u\n # comment\n password \"secret\n"), 0o600)
		}, "-", "warning: the netrc file '" + file + "' cannot be read: line 5: a quotation mark is not closed"},
		{"a directory", func() error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) }, "-",
			"warning: the netrc file '" + file + "' cannot be read: '" + file + "' is not a regular file"},
		{"a pipe", func() error { return errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)) }, "-", ""},
		{"too long", func() error { return errors.Join(os.Remove(file), os.WriteFile(file, make([]byte, 2<<20), 0o600)) }, "-",
			"warning: the netrc file '" + file + "' cannot be read: it is too long"},
		{"a file again", func() error { return os.WriteFile(file, []byte(anA), 0o600) }, "u:p", ""},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		*warned = nil
		server.start([]string{urlA})
		for i := range 3 {
			path := storepath.Path(fmt.Sprintf("/nix/store/%032d-x", i))
			s.IsValidPath(ctx, path) // the server answers 401 or 404
		}
		for _, login := range server.logins {
			if login != step.want {
				t.Errorf("%s: sent %q, want %q", step.what, login, step.want)
			}
		}
		if got := strings.Join(*warned, "\n"); len(server.logins) == 0 || got != step.warns {
			t.Errorf("%s: %d requests and the warnings %q, want %q", step.what, len(server.logins), got, step.warns)
		}
	}
}

// No error contains a password.
func TestErrorsHaveNoPasswords(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for _, uri := range []string{
		"http://me:secret@" + host, "http://me:secret@" + host + "/x%zz", "http://me:secret%zz@" + host, "http://me:secret@ho st/",
		"http:me:secret@" + host, "http://me:secret@" + host + "?unknown=x", "ftp://me:secret@" + host, "http://me:secret@" + host + "#x",
		"file://me:secret@" + host + "/x",
	} {
		_, err := binarycache.Open(t.Context(), uri, &binarycache.Options{HTTP: binarycache.HTTPOptions{Tries: 1}})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", uri, err)
		}
	}
	f := newFake()
	n := f.put(t, "x", "none", 100)
	for _, ref := range []string{"http://me:secret@" + host + "/nar/x", "http://me:secret%zz@a.test/x", "http:me:secret@b.test/x", "ftp://me:secret@a.test/x"} {
		n.URL = ref
		f.putNarInfo(t, n)
		s := f.open(t, binarycache.HTTPOptions{Tries: 1})
		f.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/nar") {
				w.WriteHeader(500)
				return true
			}
			return false
		}
		if _, err := readAll(t.Context(), s, n.Path); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}
