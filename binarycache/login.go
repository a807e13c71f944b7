package binarycache

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// Each request gets the login in its own URL. A part that is missing there comes from the netrc file, from the
// entry of the host in that URL. No login is copied from an earlier request: a server could redirect the
// request to another host, which would then get the password.

// logIn sets the login of a request. via are the earlier requests, whose redirects led to this one.
func (r *remote) logIn(req *http.Request, via []*http.Request) {
	req.Header.Del("Authorization") // net/http copies the header of the first request
	if r.isDowngrade(req.URL, via) {
		req.URL.User = nil // net/http would send a login in the URL
		return
	}
	user, password := r.login(req.Context(), req.URL)
	if user == "" && password == "" {
		req.URL.User = nil
		return
	}
	req.SetBasicAuth(user, password)
}

// isDowngrade reports whether a URL has HTTP after an earlier one, or the cache, had HTTPS. Everyone on
// the network path can read a login that is sent by HTTP, and the user has chosen HTTPS.
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

// login returns the user and the password for a URL, or "" for each that is missing. If the URL has
// another origin than the cache, a server has named it, in a redirect or in a narinfo.
func (r *remote) login(ctx context.Context, u *url.URL) (user, password string) {
	if u.User != nil {
		user = u.User.Username()
		password, _ = u.User.Password()
	}
	if user != "" && password != "" {
		return user, password
	}
	if entry, ok := r.netrc.lookUp(ctx, u.Hostname(), user, !sameOrigin(u, r.base)); ok {
		return complete(&entry, user, password)
	}
	return user, password
}

// sameOrigin reports whether two URLs have the same scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

// errOtherOrigin is the error of a request to another server than the cache, with the option SameOrigin.
var errOtherOrigin = errors.New("the cache refers to another server, which is not allowed")

// checkOrigin returns an error if requests to a URL are not allowed.
func (r *remote) checkOrigin(u *url.URL) error {
	if r.opts.SameOrigin && !sameOrigin(u, r.base) {
		return errOtherOrigin
	}
	return nil
}

// portOf returns the port of a URL, or the default port of its scheme.
func portOf(u *url.URL) string {
	switch port := u.Port(); {
	case port != "":
		return port
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// checkRedirect prepares a redirected request. It returns an error after maxRedirects redirects. Uploads are redirected by
// [remote.exchange], because net/http would turn them into a GET request, or send the body to another host.
func (r *remote) checkRedirect(req *http.Request, via []*http.Request) error {
	if method := via[0].Method; method != http.MethodGet && method != http.MethodHead {
		return http.ErrUseLastResponse
	}
	if len(via) > maxRedirects {
		return errRedirects
	}
	if err := r.checkOrigin(req.URL); err != nil {
		return err
	}
	req.Header.Del("Referer") // its URL may be signed
	r.logIn(req, via)
	return nil
}
