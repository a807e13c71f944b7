package view

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"

	"pix/store"
)

// An exportJSON has the data of an exported file: the answers of the server.
type exportJSON struct {
	Summary summaryJSON  `json:"summary"`
	Closure *closureJSON `json:"closure"`
	Sizes   *sizesJSON   `json:"sizes"`
	Layout  layoutJSON   `json:"layout"`
}

// Export writes the page and its data as one HTML file, which needs no server and no network. Views that ask the store are left out.
// It uses the roots and the name in opts. It returns the errors of [New] and of w.
//
// The data is JSON in an element that a browser does not run. The policy of the file permits only its own script, by the hash.
func Export(ctx context.Context, w io.Writer, s store.Store, opts *Options) error {
	if opts == nil {
		opts = new(Options)
	}
	loaded, err := load(ctx, s, opts.Roots)
	if err != nil {
		return err
	}
	c := newContents(s.Dir(), loaded, opts.Roots)
	j := exportJSON{Summary: newSummary(s, c, opts.Name)}
	if j.Closure, err = c.newClosureJSON(ctx); err != nil {
		return err
	}
	if j.Sizes, err = c.newSizesJSON(ctx); err != nil {
		return err
	}
	j.Layout = newLayoutJSON(j.Closure)
	data, err := json.Marshal(j) // escapes <, >, &, U+2028 and U+2029
	if err != nil {
		return err
	}
	script, style := asset("app.js"), asset("style.css")
	_, err = fmt.Fprintf(w, `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="%s">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>pix view</title>
<style>%s</style>
</head>
<body>
<div id="app"></div>
<noscript>This page needs JavaScript.</noscript>
<script id="data" type="application/json">%s</script>
<script>%s</script>
</body>
</html>
`, html.EscapeString(exportPolicy(script, style)), style, data, script)
	return err
}

// exportPolicy returns the policy of a file with this script and this style.
func exportPolicy(script, style string) string {
	return fmt.Sprintf("default-src 'none'; script-src %s; style-src %s; img-src data:; base-uri 'none'; form-action 'none'; "+
		"require-trusted-types-for 'script'; trusted-types 'none'", hashSource(script), hashSource(style))
}

// hashSource returns the text by which a policy permits an inline script or style.
func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// asset returns a file of the page.
func asset(name string) string {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // the files are compiled into the program
	}
	return string(text)
}
