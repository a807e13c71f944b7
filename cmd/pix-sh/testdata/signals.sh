sh -c 'kill -9 $$'; echo $?
kill -l 15
kill -0 $$; echo $?
