// Command demo serves the page over a closure of the tests, for work on the page.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"pix/storepath"
	"pix/view"
	"pix/view/viewtest"
)

func main() {
	n := flag.Int("n", 10_000, "the `number` of paths")
	dir := flag.String("drvs", "", "a `directory` of .drv files")
	root := flag.String("root", "", "the `name` of the root in the directory")
	listen := flag.String("listen", "127.0.0.1:0", "the `address` to listen on")
	flag.Parse()
	fixture := viewtest.Generate(*n)
	if *dir != "" {
		var err error
		if fixture, err = viewtest.FromDerivations(context.Background(), *dir, *root); err != nil {
			log.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	origin := "http://" + l.Addr().String()
	h, err := view.New(context.Background(), fixture, &view.Options{Origin: origin, Name: "demo", Roots: []storepath.Path{fixture.Root()}})
	if err != nil {
		log.Fatal(err)
	}
	for range 8 {
		fmt.Println(origin + "/#token=" + h.NewToken())
	}
	log.Fatal(http.Serve(l, h))
}
