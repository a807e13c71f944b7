package cacheserver_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/cacheserver"
	"pix/localstore"
	"pix/narinfo"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// killedServer is the variable with the directory of the server that TestKilledServer starts.
const killedServer = "PIX_TEST_KILLED_SERVER"

// A server that is killed while it receives uploads leaves a store in which every visible path is complete, and every path that
// it has acknowledged is visible. The next server deletes what has waited for narinfos.
func TestKilledServer(t *testing.T) {
	if root := os.Getenv(killedServer); root != "" {
		serveUntilKilled(t, root)
		return
	}
	times := 10
	if os.Getenv("PIX_LONG") != "" {
		times = 200
	}
	key := newKey(t, "test-1")
	root := t.TempDir()
	all := 0
	for i := range times {
		acknowledged := pushUntilKilled(t, root, key, i)
		all += len(acknowledged)
		checkKilled(t, root, acknowledged)
	}
	t.Logf("%d paths were acknowledged", all)
	if all == 0 {
		t.Error("no path was acknowledged")
	}
	cmd, _ := startServer(t, root, key)
	if left, err := filepath.Glob(filepath.Join(root, "uploads", "upload-*")); err != nil || len(left) != 0 {
		t.Errorf("%q are left, error %v", left, err)
	}
	cmd.Process.Kill()
	cmd.Wait() // it was killed
}

// serveUntilKilled serves the store in a directory. It ends when its input does.
func serveUntilKilled(t *testing.T, root string) {
	key, err := signature.ParsePublicKey(os.Getenv(killedServer + "_KEY"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: filepath.Join(root, "store")})
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, &cacheserver.Options{
		TrustedKeys: signature.NewKeySet(key),
		Uploads:     &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: filepath.Join(root, "uploads")},
	}, s)
	srv := httptest.NewServer(h)
	fmt.Println(srv.URL)
	io.Copy(io.Discard, os.Stdin)
}

// startServer starts a server, and returns its URL.
func startServer(t *testing.T, root string, key signature.SecretKey) (cmd *exec.Cmd, url string) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^TestKilledServer$")
	cmd.Env = append(os.Environ(), killedServer+"="+root, killedServer+"_KEY="+key.Public().String())
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // it is open until the server is killed
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(url)
}

// pushUntilKilled starts a server, uploads objects, and kills the server after a random time. It returns the paths that the server
// has acknowledged.
func pushUntilKilled(t *testing.T, root string, key signature.SecretKey, round int) (acknowledged []storepath.Path) {
	t.Helper()
	cmd, url := startServer(t, root, key)
	var mu sync.Mutex
	var workers sync.WaitGroup
	first := make(chan struct{})
	var once sync.Once
	for worker := range 3 {
		workers.Go(func() {
			var previous []storepath.Path
			for i := 0; ; i++ {
				size := 100 << (i % 4 * 4) // up to 400 KB
				o := newPushed(t, fmt.Sprintf("object-%d-%d-%d", round, worker, i), fileArchive(strings.Repeat(fmt.Sprint(round, worker, i), size/4)), previous, key)
				once.Do(func() { close(first) })
				if !pushTo(t, url, o) {
					return
				}
				previous = []storepath.Path{o.n.Path}
				mu.Lock()
				acknowledged = append(acknowledged, o.n.Path)
				mu.Unlock()
			}
		})
	}
	<-first
	time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond) // any time is right
	cmd.Process.Kill()
	cmd.Wait() // it was killed
	workers.Wait()
	return acknowledged
}

// pushTo uploads an object to a server. It reports false if the server does not answer.
func pushTo(t *testing.T, url string, o *pushed) bool {
	text, err := o.n.MarshalText()
	if err != nil {
		t.Error(err)
		return false
	}
	for _, file := range []struct {
		name string
		body []byte
	}{{o.n.URL, o.file}, {narinfo.FileName(o.n.Path), text}} {
		r, err := http.NewRequest(http.MethodPut, url+"/"+file.name, bytes.NewReader(file.body))
		if err != nil {
			t.Error(err)
			return false
		}
		r.SetBasicAuth("nix", testToken)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		reason, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Errorf("uploading %s: %d, %s, error %v", file.name, resp.StatusCode, reason, err)
			return false
		}
	}
	return true
}

// checkKilled checks the store that a killed server has left.
func checkKilled(t *testing.T, root string, acknowledged []storepath.Path) {
	t.Helper()
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: filepath.Join(root, "store")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	valid, err := s.QueryValidPaths(t.Context(), acknowledged, false)
	if err != nil || len(valid) != len(acknowledged) {
		t.Errorf("%d of %d acknowledged paths are valid, error %v", len(valid), len(acknowledged), err)
	}
	if remain, err := store.Verify(t.Context(), s, true, false); err != nil || remain {
		t.Errorf("errors remain: %t, %v", remain, err)
	}
}
