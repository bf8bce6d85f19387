;; A loop without a loop: tail calls for ever.
(module
  (memory (export "memory") 1)
  (func $again (export "_start") (return_call $again)))
