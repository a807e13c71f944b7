package cacheserver

import (
	"html/template"
	"net/http"
	"strings"
)

// startPage is the page for people who open the address of the cache.
var startPage = template.Must(template.New("start").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Nix binary cache</title>
<h1>Nix binary cache</h1>
<p>This is a binary cache for the store directory <code>{{.StoreDir}}</code>. Nix and pix copy paths from it:</p>
<pre>nix copy --from {{.URL}} {{.StoreDir}}/…</pre>
<p>To use it as a substituter, add this to <code>nix.conf</code>:</p>
<pre>extra-substituters = {{.URL}}{{if .Keys}}
extra-trusted-public-keys ={{range .Keys}} {{.}}{{end}}{{end}}</pre>
{{if not .Keys}}<p>The server does not sign paths: clients need the keys of the signatures that are in the store.</p>
{{end}}<p><a href="nix-cache-info">nix-cache-info</a></p>
</html>
`))

// serveStart answers a request for the start page.
func (h *Handler) serveStart(w http.ResponseWriter, r *http.Request) error {
	data := struct {
		StoreDir, URL string
		Keys          []string
	}{StoreDir: string(h.dir), URL: h.opts.URL}
	if data.URL == "" {
		data.URL = requestURL(r)
	}
	for _, k := range h.opts.Keys {
		data.Keys = append(data.Keys, k.Public().String())
	}
	allowDownloads(w)
	var page strings.Builder
	if err := startPage.Execute(&page, data); err != nil {
		return err
	}
	return h.serveContent(w, r, h.newContent(htmlText, []byte(page.String())))
}

// htmlText is the media type of pages.
const htmlText = "text/html; charset=utf-8"

// requestURL returns the address by which a client has reached the server. A reverse proxy may have another one.
func requestURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
