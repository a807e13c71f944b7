package cacheserver_test

import (
	"net/http"
	"strings"
	"testing"

	"pix/cacheserver"
	"pix/store/memstore"
)

// An uploaded index of debug info is refused with the setting that sends it. No cache has one.
func TestDebugInfo(t *testing.T) {
	const target = "/debuginfo/0123456789abcdef0123456789abcdef01234567.debug"
	h := newHandler(t, &cacheserver.Options{
		Uploads: &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: t.TempDir()},
	}, memstore.New(nil))
	if status, text := put(h, testToken, target, []byte(`{"archive":"../nar/x","member":"y"}`)); status != http.StatusUnprocessableEntity || !strings.Contains(text, "index-debug-info") {
		t.Errorf("%d, %s", status, text)
	}
	if status, _ := put(h, "", target, nil); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", status)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if r := ask(h, method, target); r.Code != http.StatusNotFound {
			t.Errorf("%s: %d", method, r.Code)
		}
	}
	if status, _ := put(newHandler(t, nil, memstore.New(nil)), "", target, nil); status != http.StatusMethodNotAllowed {
		t.Errorf("without uploads: %d", status)
	}
}
