package main

import (
	"context"

	"pix/view"
)

// serveDocs shows the documentation in the browser until the context ends. route is the first address within the page.
func (a *app) serveDocs(ctx context.Context, route string, noOpen bool) error {
	l, err := listenOn("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	origin := "http://" + l.Addr().String()
	handler, err := view.NewDocs(&view.Options{Origin: origin, Name: "Documentation of pix"})
	if err != nil {
		return err
	}
	return a.servePage(ctx, newHTTPServer(handler), l, origin+"/#token="+handler.NewToken()+route, noOpen)
}
