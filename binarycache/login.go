package binarycache

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// Each request gets the login of its own URL, completed from the netrc file by the host of that URL.
// Nothing is taken over from an earlier request, so that a server cannot send a password elsewhere by
// redirecting.

// logIn gives a request its login. The requests in via were redirected, and led to this one.
func (r *remote) logIn(req *http.Request, via []*http.Request) {
	req.Header.Del("Authorization") // net/http copies that of the first request
	if r.isDowngrade(req.URL, via) {
		req.URL.User = nil // net/http would send it
		return
	}
	user, password := r.login(req.Context(), req.URL)
	if user == "" && password == "" {
		req.URL.User = nil
		return
	}
	req.SetBasicAuth(user, password)
}

// isDowngrade reports whether a URL is one of HTTP, after one of HTTPS. Everybody on the way can read
// what is sent to it, and whoever had HTTPS did not choose that.
func (r *remote) isDowngrade(u *url.URL, via []*http.Request) bool {
	if u.Scheme == "https" {
		return false
	}
	secure := r.base.Scheme == "https"
	for _, earlier := range via {
		secure = secure || earlier.URL.Scheme == "https"
	}
	return secure
}

// login returns the user and the password for a URL, "" if there are none. A URL that is not the
// cache's own was named by a server, in a redirect or in a narinfo.
func (r *remote) login(ctx context.Context, u *url.URL) (user, password string) {
	if u.User != nil {
		user = u.User.Username()
		password, _ = u.User.Password()
	}
	if user != "" && password != "" {
		return user, password
	}
	if entry, ok := r.netrc.lookUp(ctx, u.Hostname(), user, !sameOrigin(u, r.base)); ok {
		return entry.complete(user, password)
	}
	return user, password
}

// sameOrigin reports whether two URLs have the same scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

// portOf returns the port of a URL.
func portOf(u *url.URL) string {
	switch port := u.Port(); {
	case port != "":
		return port
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// checkRedirect prepares a request that a server has redirected to.
func (r *remote) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errRedirects
	}
	req.Header.Del("Referer") // its URL may be signed
	r.logIn(req, via)
	return nil
}
