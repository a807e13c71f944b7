package view

import (
	"embed"
	"net/http"
	"path"
	"strings"
)

// The files of the page. scripts/view-assets makes them from view/web.
//
//go:embed assets
var assets embed.FS

// pagePolicy is the policy of the page. Scripts and styles come from this server, and texts cannot become markup: the
// browser refuses functions that parse HTML (trusted types).
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// mediaTypes are the types of the files, by extension.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// cutAPI returns the name of a resource below /api/.
func cutAPI(urlPath string) (name string, isAPI bool) {
	return strings.CutPrefix(urlPath, "/api/")
}

// serveAsset answers a request for a file of the page. The files have no data of the store, so they need no bearer.
func serveAsset(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return &statusError{http.StatusMethodNotAllowed, "the method must be GET or HEAD"}
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	text, err := assets.ReadFile("assets/" + name)
	mediaType, known := mediaTypes[path.Ext(name)]
	if err != nil || !known {
		return errNoPage
	}
	w.Header().Set("Content-Security-Policy", pagePolicy)
	return writeBody(w, r, mediaType, &body{text: text})
}
