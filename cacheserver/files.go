package cacheserver

import (
	"context"
	"html/template"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"pix/nar"
	"pix/store"
)

// serveFiles answers a request for a file or a directory in an object. What the files contain is not trusted: texts, also
// with HTML or scripts, are displayed as plain text, and other files are downloaded. The Content-Security-Policy keeps a
// browser from executing anything.
func (h *Handler) serveFiles(w *response, r *http.Request, n name) error {
	s, info, err := h.lookUp(r.Context(), n.hashPart)
	if err != nil {
		return err
	}
	places := h.budgets.of(s).archives
	if err := places.acquire(r.Context()); err != nil { // a listing may be large, so no request waits that has one
		return err
	}
	defer places.release()
	w.place = places
	root, err := h.listing(r.Context(), s, info)
	if err != nil {
		return err
	}
	inside, asDir := n.inside, false
	if len(inside) > 0 && inside[len(inside)-1] == "" {
		inside, asDir = inside[:len(inside)-1], true
	}
	file, target, err := h.findFile(root, info, inside)
	switch {
	case err != nil:
		return err
	case target != "":
		return redirect(w, strings.Repeat("../", len(n.inside))+target)
	case file.Kind == nar.Directory && !asDir:
		return redirect(w, "./"+url.PathEscape(path.Base(r.URL.Path))+"/")
	case file.Kind == nar.Directory:
		return h.serveDirectory(w, r, info, inside, file)
	case asDir:
		return errNotFound
	}
	return h.serveFile(w, r, &archive{store: s, info: info}, inside, file)
}

// redirect sends the client to a location relative to the path of the request, because the handler may be mounted below a
// prefix that it does not know.
func redirect(w http.ResponseWriter, location string) error {
	w.Header().Set("Location", location)
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusFound)
	return nil
}

// findFile returns the file at a path in an object. If a symlink is on the way, it returns the path to which it leads instead, relative
// to /serve/.
func (h *Handler) findFile(root *nar.Listing, info *store.PathInfo, inside []string) (file *nar.Listing, target string, err error) {
	file = root
	for i := 0; ; i++ {
		if file.Kind == nar.Symlink {
			target, err = h.followLink(info, inside[:i], file.Target, inside[i:])
			return nil, target, err
		}
		if i == len(inside) {
			return file, "", nil
		}
		if file = file.Lookup(inside[i]); file == nil || file.Kind == 0 {
			return nil, "", errNotFound
		}
	}
}

// followLink returns the path, relative to /serve/, to which a symlink at a path in an object leads, with the rest of the path.
func (h *Handler) followLink(info *store.PathInfo, link []string, target string, rest []string) (string, error) {
	if !path.IsAbs(target) {
		target = path.Join(string(info.Path), path.Join(link...), "..", target)
	}
	to, inside, err := h.dir.ParseInside(path.Join(target, path.Join(rest...)))
	if err != nil {
		return "", &statusError{http.StatusNotFound, "the symlink leads out of the store"}
	}
	escaped := []string{to.HashPart()}
	for part := range strings.SplitSeq(strings.Trim(inside, "/"), "/") {
		if part != "" {
			escaped = append(escaped, url.PathEscape(part))
		}
	}
	return strings.Join(escaped, "/"), nil
}

// directoryPage lists a directory.
var directoryPage = template.Must(template.New("directory").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Path}}</title>
<h1>{{.Path}}</h1>
<pre>{{if .Inside}}<a href="../">../</a>
{{end}}{{range .Entries}}<a href="{{.Href}}">{{.Name}}</a>{{.Note}}
{{end}}</pre>
</html>
`))

// A directoryEntry is a line of a directoryPage.
type directoryEntry struct{ Href, Name, Note string }

// serveDirectory sends the page of a directory.
func (h *Handler) serveDirectory(w *response, r *http.Request, info *store.PathInfo, inside []string, dir *nar.Listing) error {
	data := struct {
		Path    string
		Inside  bool
		Entries []directoryEntry
	}{Path: visibleName(path.Join(string(info.Path), path.Join(inside...))), Inside: len(inside) > 0}
	for i := range dir.Entries {
		data.Entries = append(data.Entries, newDirectoryEntry(&dir.Entries[i]))
	}
	allowDownloads(w)
	var page strings.Builder
	if err := directoryPage.Execute(&page, data); err != nil {
		return err
	}
	return h.serveContent(w, r, h.newContent(htmlText, []byte(page.String())))
}

// allowDownloads lets a page of the server link to files that a browser downloads.
func allowDownloads(w http.ResponseWriter) {
	w.Header().Set("Content-Security-Policy", "sandbox allow-downloads; default-src 'none'")
}

func newDirectoryEntry(file *nar.Listing) directoryEntry {
	e := directoryEntry{Href: "./" + url.PathEscape(file.Name), Name: visibleName(file.Name)}
	switch file.Kind {
	case nar.Directory:
		e.Href, e.Name = e.Href+"/", e.Name+"/"
	case nar.Symlink:
		e.Note = " → " + visibleName(file.Target)
	default:
		e.Note = "  " + strconv.FormatUint(file.Size, 10)
		if file.Executable {
			e.Name += "*"
		}
	}
	return e
}

// visibleName replaces the characters of a name that move other text on the page: line feeds would add lines, and format characters
// change the direction of the text.
func visibleName(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return utf8.RuneError
		}
		return r
	}, name)
}

// serveFile sends the contents of a file. They are read from its offset in the archive, so their hash is not verified.
func (h *Handler) serveFile(w *response, r *http.Request, a *archive, inside []string, file *nar.Listing) error {
	size := int64(file.Size)
	etag := `"` + a.info.NARHash.Nix32() + "-" + strconv.FormatInt(file.Offset, 10) + `"`
	part, partial, done, err := h.beginFile(w, r, etag, size)
	w.Header().Set("Cache-Control", h.cacheControl(changeable))
	if done || err != nil {
		return err
	}
	isText, err := a.isText(r.Context(), file)
	if err != nil {
		return err
	}
	if isText {
		w.Header().Set("Content-Type", plainText)
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
		name := path.Base(path.Join(string(a.info.Path), path.Join(inside...)))
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": strings.ToValidUTF8(name, "_")}))
	}
	if r.Method == http.MethodHead || part.length == 0 {
		beginBody(w, part, partial, size)
		return nil
	}
	inArchive := byteRange{file.Offset + part.offset, part.length}
	if err := a.open(r.Context(), inArchive); err != nil {
		return err
	}
	defer a.contents.Close()
	beginBody(w, part, partial, size)
	return a.send(w, inArchive)
}

// isText reports whether the beginning of a file is UTF-8 without control characters of binary files.
func (a *archive) isText(ctx context.Context, file *nar.Listing) (bool, error) {
	head := make([]byte, min(file.Size, 1024))
	if len(head) == 0 {
		return true, nil
	}
	if err := a.open(ctx, byteRange{file.Offset, int64(len(head))}); err != nil {
		return false, err
	}
	defer a.contents.Close()
	if _, err := io.ReadFull(a.contents, head); err != nil {
		return false, err
	}
	for utf8.FullRune(head) {
		c, size := utf8.DecodeRune(head)
		if c == utf8.RuneError && size == 1 {
			return false, nil
		}
		if c < ' ' && !strings.ContainsRune("\t\n\f\r\x1b", c) {
			return false, nil
		}
		head = head[size:]
	}
	return true, nil
}
