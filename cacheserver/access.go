package cacheserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
)

// A tokenSet is a set of tokens. It has their hashes, so that comparing them takes the same time however many bytes of a
// token are right.
type tokenSet [][sha256.Size]byte

// minToken is the minimum length of a token in bytes.
const minToken = 16

// newTokenSet returns the set of tokens. The error does not contain a token.
func newTokenSet(tokens []string) (tokenSet, error) {
	set := make(tokenSet, 0, len(tokens))
	for _, t := range tokens {
		if err := CheckToken(t); err != nil {
			return nil, err
		}
		set = append(set, sha256.Sum256([]byte(t)))
	}
	return set, nil
}

// CheckToken returns an error for a token that New refuses: one that is shorter than 16 bytes, or that not every client can
// send. The error does not contain the token.
func CheckToken(token string) error {
	switch {
	case len(token) < minToken:
		return errors.New("a token is shorter than 16 characters, so it could be guessed")
	case strings.Trim(token, tokenBytes) != "":
		return errors.New("a token has characters other than letters, digits, and -._~+/=, which not every client can send")
	}
	return nil
}

// tokenBytes are the characters of a token in the header Authorization (RFC 6750, section 2.1).
const tokenBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="

// has reports whether the set has a token.
func (set tokenSet) has(token string) bool {
	sum := sha256.Sum256([]byte(token))
	found := 0
	for i := range set {
		found |= subtle.ConstantTimeCompare(set[i][:], sum[:])
	}
	return found == 1
}

// tokenOf returns the token of a request: a Bearer token, or the password of a Basic login with any user name, because Nix
// sends nothing else. It is "" if there is none.
func tokenOf(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

// isPrivate reports whether reading needs a token.
func (h *Handler) isPrivate() bool { return len(h.readTokens) > 0 }

// checkAccess returns an error if the client may not send a request. It does not read the body.
func (h *Handler) checkAccess(w http.ResponseWriter, r *http.Request, n name) error {
	if n.kind == kindHealth || h.mayRead(r) {
		return nil
	}
	return unauthorized(w)
}

// mayRead reports whether the client that sends a request may read. An uploader without a token is every client, so it does not
// permit reading.
func (h *Handler) mayRead(r *http.Request) bool {
	if !h.isPrivate() || h.readTokens.has(tokenOf(r)) {
		return true
	}
	if h.uploads == nil {
		return false
	}
	by := h.uploads.uploaders.find(r)
	return by != nil && by.Token != ""
}

// unauthorized returns the error of a request without a token that permits it.
func unauthorized(w http.ResponseWriter) error {
	w.Header().Set("WWW-Authenticate", `Basic realm="Nix binary cache", charset="UTF-8"`)
	return &statusError{http.StatusUnauthorized, "a token is needed: send it as the password of a login, for example from a netrc file, or as a Bearer token"}
}
