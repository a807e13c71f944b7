package s3test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"pix/internal/testenv"
)

// The credentials of the server.
const accessKey, secretKey = "an-access-key", "a-secret-key"

// startVersity starts versitygw with an empty bucket, and returns its URI. The server ends with the test.
func startVersity(t *testing.T) (uri string) {
	program := os.Getenv("PIX_S3_SERVER")
	if program == "" {
		testenv.Missing(t, "s3", "PIX_S3_SERVER does not name the program versitygw, which checks signatures")
	}
	dir := t.TempDir()
	for _, name := range []string{"objects", "metadata"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 { // another program may take the port
		addr := freeAddr(t)
		cmd := exec.Command(program, "--port", addr, "--access", accessKey, "--secret", secretKey, "--quiet",
			"posix", "--sidecar", filepath.Join(dir, "metadata"), filepath.Join(dir, "objects"))
		if start(t, cmd, addr) {
			request(t, http.MethodPut, "http://"+addr+"/bucket") // creates it
			return "s3://bucket?endpoint=http://" + addr
		}
	}
	t.Fatal("the server does not start")
	return ""
}

// freeAddr returns an address on which nothing listens.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts the server, and reports whether it listens before it ends.
func start(t *testing.T, cmd *exec.Cmd, addr string) bool {
	output := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the server printed %s", output)
		}
	})
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// request sends a request without a body, with a signature of AWS's own module, and returns the text of the answer.
func request(t *testing.T, method, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	req.Header.Set("X-Amz-Content-Sha256", empty)
	c := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	if err := v4.NewSigner().SignHTTP(context.Background(), c, req, empty, "s3", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: status %d, error %v: %s", method, url, resp.StatusCode, err, text)
	}
	return string(text)
}

// A lockedBuffer is a buffer that a program writes while the test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprintf("%q", b.b.String())
}
