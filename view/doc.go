// Package view serves a page that shows a closure in a browser: sizes, dependencies, and what needs a path.
//
// A [Handler] is an [http.Handler] over a closure in any [store.Store]. The page is made of files that are compiled into
// the program, and loads nothing from elsewhere. Its data comes from the functions that the verbs of cmd/pix use, as JSON:
//
//	POST /api/session        {"token": …}: exchanges a token for a bearer
//	GET  /api/summary        totals, and the abilities of the store
//	GET  /api/closure        all paths with their sizes and references, as lists of indexes
//	GET  /api/sizes          the sizes of their closures
//	GET  /api/layout         where they are in the picture of the whole graph
//	GET  /api/path           ?path=: the path info
//	GET  /api/neighbourhood  ?path=&up=&down=&most=: the paths near a path, as a graph in layers
//	GET  /api/why            ?from=&to=: the chains of references from one path to another
//	GET  /api/mentions       ?from=&to=: the files in which a reference stands
//	GET  /api/roots          ?path=: what keeps a path from being collected
//	GET  /api/compare        ?before=&after=: the differences of two closures
//	GET  /api/derivation     ?path=: a derivation, or the one that has built a path
//	GET  /api/explain        ?path=&about=: how a path or its signatures are computed, step by step
//	GET  /api/docs           ?page= or ?q=: the pages of the documentation, one of them, or what a search finds
//	GET  /api/builds         the running builds: a line of JSON for each change
//
// # Safety
//
// The names and contents of a store can be secret, and other users and web pages can reach a port of this machine. So
// every request needs a known Host, because another site can give its name a loopback address. The data also needs a bearer,
// and the origin of the page if a browser sends an origin. The program that serves the page makes a token
// ([Handler.NewToken]) for the fragment of the address that the browser opens. A token is valid once. The page
// exchanges it for the bearer, which the browser keeps for the tab.
//
// GET requests change nothing. The page and the data have strict policies (Content-Security-Policy): scripts come from this server
// only, and no function parses HTML. Names, logs and contents enter the page as text.
//
// # Reading order
//
// handler.go routes requests, access.go decides which are answered, query.go limits the ones that read much, response.go
// writes answers, assets.go has the files of the page, and contents.go the closure. positions.go computes the picture of
// the whole graph (layout.go), graph.go the smaller ones. path.go, roots.go, compare.go, derivation.go, explain.go,
// builds.go and docs.go answer the other questions. export.go writes everything as one file. The sources of the page are in
// web, and web/src/main.ts is the first to read. scripts/view-assets makes the files of the page from them.
package view
