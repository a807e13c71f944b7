package binarycache

import (
	"errors"
	"net"
	"net/http"
)

// maxLarge is the number of large archives that have connections of their own.
const maxLarge = 32

// useLargeClient gives the download of a large archive a connection of its own. If maxLarge large
// archives have one already, it does nothing: a program that opens hundreds of archives would
// otherwise have hundreds of connections instead of a few with HTTP/2. Waiting for another archive
// is no alternative, because its reader may wait for this one.
func (d *download) useLargeClient() {
	if d.remote.largeClient == d.remote.client {
		return
	}
	select {
	case d.remote.large <- struct{}{}:
		d.client, d.isLarge = d.remote.largeClient, true
	default:
	}
}

// releaseLarge ends the use of a connection for a large archive.
func (d *download) releaseLarge() {
	if d.isLarge {
		d.isLarge = false
		<-d.remote.large
	}
}

// send sends the next request. If a server does not serve a large archive without HTTP/2, send
// repeats the request at once with HTTP/2. This is no failure: the cache works, and without
// large archives there would have been no such request.
func (d *download) send(ranged bool) (*response, error) {
	client := d.client
	d.client = d.remote.client // also for a retry
	resp, err := d.remote.send(d.ctx, client, d.request(ranged), d.retrier.opts)
	if client == d.remote.client || !d.mayNeedHTTP2(resp, err) {
		return resp, err
	}
	if err == nil {
		resp.body.Close()
	}
	d.releaseLarge()
	return d.remote.send(d.ctx, d.remote.client, d.request(ranged), d.retrier.opts)
}

// mayNeedHTTP2 reports whether a request may have failed because it was sent without HTTP/2. Some
// servers end the TLS handshake or the connection then, or send garbage.
func (d *download) mayNeedHTTP2(resp *response, err error) bool {
	if err == nil {
		switch resp.StatusCode {
		case http.StatusMisdirectedRequest, http.StatusUpgradeRequired, http.StatusHTTPVersionNotSupported:
			return true
		}
		return false
	}
	if d.ctx.Err() != nil || errors.Is(err, errNoConnection) || errors.Is(err, errNoResponse) || errors.Is(err, errRedirects) || errors.Is(err, errOtherOrigin) {
		return false
	}
	failed, ok := errors.AsType[*net.OpError](err)
	return !ok || failed.Op != "dial"
}
