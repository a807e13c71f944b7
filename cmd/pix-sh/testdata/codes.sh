/nonexistent; echo $?
echo 'exit 3' > script; chmod +x script; ./script; echo $?
: > plain; ./plain; echo $?
eval 'if'; echo unreached
