;; Sixteen memories of 64 MiB each: no single one is over any limit.
(module
  (memory (export "memory") 1024)
  (memory 1024) (memory 1024) (memory 1024) (memory 1024) (memory 1024)
  (memory 1024) (memory 1024) (memory 1024) (memory 1024) (memory 1024)
  (memory 1024) (memory 1024) (memory 1024) (memory 1024) (memory 1024)
  (func (export "_start")))
